"""Debian's usrsctp through cffi: one association over packets that somebody else carries.

The library runs without threads of its own: packets go in, packets come out of a callback, and
:func:`tick` moves its clock.
"""

from __future__ import annotations

import ctypes.util
import errno
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cffi  # type: ignore[import-untyped]

PACKET_BYTES = 1_132
"""What fits a datagram of 1200 bytes with DTLS around it, less what usrsctp thinks of IP."""

BUFFER_BYTES = 4 << 20

_AF_CONN, _IPPROTO_SCTP, _SOCK_STREAM, _SOL_SOCKET = 123, 132, 1, socket.SOL_SOCKET
_INITMSG, _NODELAY, _PEER_ADDR_PARAMS, _FRAGMENT_INTERLEAVE = 0x03, 0x04, 0x0A, 0x10
_EVENT, _RECVRCVINFO, _INTERLEAVING_SUPPORTED = 0x1E, 0x1F, 0x1206
_ENABLE_STREAM_RESET, _RESET_STREAMS = 0x900, 0x901
_HB_ENABLE, _PMTUD_DISABLE = 0x01, 0x10
_SPA, _SNDINFO_VALID, _PRINFO_VALID = 4, 0x01, 0x02
_PR_TTL, _PR_RTX = 0x01, 0x03
_UNORDERED, _EOR = 0x0400, 0x2000
_MSG_EOR, _MSG_NOTIFICATION = 0x80, 0x2000
_ASSOC_CHANGE, _STREAM_RESET_EVENT = 0x01, 0x09
_COMM_UP, _COMM_LOST, _SHUTDOWN_COMP, _CANT_START = 1, 2, 4, 5
_RESET_INCOMING, _RESET_OUTGOING, _RESET_REFUSED = 0x01, 0x02, 0x0C
_SUPPORTS_INTERLEAVING = 0x06
_MAX_STREAMS = 65_535

_ffi = cffi.FFI()
_ffi.cdef(
    """
    typedef uint32_t sctp_assoc_t;
    typedef unsigned int socklen_t;
    struct socket;
    struct sockaddr_conn { uint16_t sconn_family; uint16_t sconn_port; void *sconn_addr; };
    struct sctp_rcvinfo { uint16_t rcv_sid, rcv_ssn, rcv_flags; uint32_t rcv_ppid, rcv_tsn,
        rcv_cumtsn, rcv_context; sctp_assoc_t rcv_assoc_id; };
    struct sctp_sndinfo { uint16_t snd_sid, snd_flags; uint32_t snd_ppid, snd_context;
        sctp_assoc_t snd_assoc_id; };
    struct sctp_prinfo { uint16_t pr_policy; uint32_t pr_value; };
    struct sctp_authinfo { uint16_t auth_keynumber; };
    struct sctp_sendv_spa { uint32_t sendv_flags; struct sctp_sndinfo sendv_sndinfo;
        struct sctp_prinfo sendv_prinfo; struct sctp_authinfo sendv_authinfo; };
    struct sctp_event { sctp_assoc_t se_assoc_id; uint16_t se_type; uint8_t se_on; };
    struct sctp_assoc_value { sctp_assoc_t assoc_id; uint32_t assoc_value; };
    struct sctp_initmsg { uint16_t sinit_num_ostreams, sinit_max_instreams, sinit_max_attempts,
        sinit_max_init_timeo; };
    struct sockaddr_storage { uint16_t ss_family; char pad[118]; uint64_t align; };
    struct sctp_paddrparams { struct sockaddr_storage spp_address; sctp_assoc_t spp_assoc_id;
        uint32_t spp_hbinterval, spp_pathmtu, spp_flags, spp_ipv6_flowlabel;
        uint16_t spp_pathmaxrxt; uint8_t spp_dscp; };
    struct sctp_reset_streams { sctp_assoc_t srs_assoc_id; uint16_t srs_flags, srs_number_streams;
        uint16_t srs_stream_list[1]; };
    struct sctp_assoc_change { uint16_t sac_type, sac_flags; uint32_t sac_length;
        uint16_t sac_state, sac_error, sac_outbound_streams, sac_inbound_streams;
        sctp_assoc_t sac_assoc_id; };
    struct sctp_stream_reset_event { uint16_t strreset_type, strreset_flags;
        uint32_t strreset_length; sctp_assoc_t strreset_assoc_id; };

    void usrsctp_init_nothreads(uint16_t, int (*)(void *, void *, size_t, uint8_t, uint8_t),
        void *);
    struct socket *usrsctp_socket(int, int, int, void *, void *, uint32_t, void *);
    int usrsctp_setsockopt(struct socket *, int, int, const void *, socklen_t);
    int usrsctp_set_non_blocking(struct socket *, int);
    int usrsctp_set_upcall(struct socket *, void (*)(struct socket *, void *, int), void *);
    ssize_t usrsctp_sendv(struct socket *, const void *, size_t, void *, int, void *, socklen_t,
        unsigned int, int);
    ssize_t usrsctp_recvv(struct socket *, void *, size_t, void *, socklen_t *, void *,
        socklen_t *, unsigned int *, int *);
    int usrsctp_bind(struct socket *, struct sockaddr_conn *, socklen_t);
    int usrsctp_connect(struct socket *, struct sockaddr_conn *, socklen_t);
    void usrsctp_close(struct socket *);
    void usrsctp_conninput(void *, const void *, size_t, uint8_t);
    void usrsctp_register_address(void *);
    void usrsctp_deregister_address(void *);
    void usrsctp_handle_timers(uint32_t);
    int usrsctp_sysctl_set_sctp_ecn_enable(uint32_t);
    int usrsctp_sysctl_set_sctp_asconf_enable(uint32_t);
    int usrsctp_sysctl_set_sctp_auth_enable(uint32_t);
    int usrsctp_sysctl_set_sctp_blackhole(uint32_t);
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One whole message."""

    stream_id: int
    ppid: int
    data: bytes


class Events:
    """What an association tells its owner; each is called at once."""

    def __init__(self) -> None:
        self.on_up: Callable[[], None] = lambda: None
        self.on_down: Callable[[], None] = lambda: None
        self.on_message: Callable[[Received], None] = lambda message: None
        self.on_incoming_reset: Callable[[int], None] = lambda stream_id: None
        self.on_outgoing_reset: Callable[[int], None] = lambda stream_id: None


_associations: dict[int, Association] = {}
_by_socket: dict[Any, Association] = {}


def _output(address: Any, buffer: Any, size: int, tos: int, set_df: int) -> int:
    association = _associations.get(int(_ffi.cast("intptr_t", address)))
    if association is not None:
        association.send_packet(bytes(_ffi.buffer(buffer, size)))
    return 0


def _upcall(sock: Any, argument: Any, flags: int) -> None:
    association = _by_socket.get(sock)
    if association is not None:
        association.ready()


# Kept for as long as the library may call them.
_OUTPUT = _ffi.callback("int(void *, void *, size_t, uint8_t, uint8_t)", _output)
_UPCALL = _ffi.callback("void(struct socket *, void *, int)", _upcall)


def _load() -> Any:
    name = ctypes.util.find_library("usrsctp")
    if name is None:
        raise OSError("libusrsctp is not installed")
    library = _ffi.dlopen(name)
    library.usrsctp_init_nothreads(0, _OUTPUT, _ffi.NULL)
    library.usrsctp_sysctl_set_sctp_ecn_enable(0)
    library.usrsctp_sysctl_set_sctp_asconf_enable(0)
    library.usrsctp_sysctl_set_sctp_auth_enable(0)
    library.usrsctp_sysctl_set_sctp_blackhole(2)
    return library


_library = _load()


def tick(elapsed_ms: int) -> None:
    """Move the library's clock on."""
    _library.usrsctp_handle_timers(elapsed_ms)


class Association:
    """One SCTP association.

    Args:
        number: of this association, from 1; the library knows it by that.
        local_port: ours.
        remote_port: the other end's.
        send_packet: takes what is to be sent.
        is_interleaving: offer I-DATA (RFC 8260).
    """

    def __init__(
        self,
        number: int,
        *,
        local_port: int,
        remote_port: int,
        send_packet: Callable[[bytes], None],
        is_interleaving: bool,
    ) -> None:
        self.send_packet = send_packet
        self.events = Events()
        self.is_interleaving = False
        self._handle = _ffi.cast("void *", number)
        self._number = number
        self._waiting: deque[tuple[bytes, Any]] = deque()
        self._parts: dict[tuple[int, bool], bytearray] = {}
        self._is_closed = self._is_busy = False
        _associations[number] = self
        _library.usrsctp_register_address(self._handle)
        self._socket = _library.usrsctp_socket(
            _AF_CONN, _SOCK_STREAM, _IPPROTO_SCTP, _ffi.NULL, _ffi.NULL, 0, _ffi.NULL
        )
        if self._socket == _ffi.NULL:
            raise OSError(_ffi.errno, "usrsctp_socket")
        _by_socket[self._socket] = self
        self._set_options(is_interleaving)
        _library.usrsctp_set_non_blocking(self._socket, 1)
        _library.usrsctp_set_upcall(self._socket, _UPCALL, _ffi.NULL)
        self._call("bind", self._address(local_port))
        self._remote = self._address(remote_port)

    def connect(self) -> None:
        """Send INIT."""
        self._call("connect", self._remote)

    def receive(self, packet: bytes) -> None:
        """Take one packet."""
        if not self._is_closed:
            _library.usrsctp_conninput(self._handle, packet, len(packet), 0)

    def send(
        self,
        stream_id: int,
        ppid: int,
        data: bytes,
        *,
        is_ordered: bool = True,
        max_retr: int | None = None,
        max_time_ms: int | None = None,
    ) -> None:
        """Send one message as soon as there is room."""
        info = _ffi.new("struct sctp_sendv_spa *")
        info.sendv_flags = _SNDINFO_VALID
        info.sendv_sndinfo.snd_sid = stream_id
        info.sendv_sndinfo.snd_ppid = socket.htonl(ppid)
        info.sendv_sndinfo.snd_flags = _EOR | (0 if is_ordered else _UNORDERED)
        if max_retr is not None or max_time_ms is not None:
            info.sendv_flags |= _PRINFO_VALID
            is_count = max_retr is not None
            info.sendv_prinfo.pr_policy = _PR_RTX if is_count else _PR_TTL
            info.sendv_prinfo.pr_value = max_retr if is_count else max_time_ms
        self._waiting.append((data, info))
        self._flush()

    def reset(self, stream_id: int) -> None:
        """Reset our direction of a stream."""
        value = _ffi.new("struct sctp_reset_streams *")
        value.srs_flags = _RESET_OUTGOING
        value.srs_number_streams = 1
        value.srs_stream_list[0] = stream_id
        self._set(_RESET_STREAMS, value, _ffi.sizeof("struct sctp_reset_streams"))

    def ready(self) -> None:
        """Take what came and send what waits. The library calls this within its own calls."""
        if self._is_busy or self._is_closed:
            return
        self._is_busy = True
        try:
            self._read_all()
        finally:
            self._is_busy = False
        self._flush()

    def close(self) -> None:
        """Close the socket; the library sends SHUTDOWN or ABORT."""
        if not self._is_closed:
            self._is_closed = True
            _library.usrsctp_close(self._socket)
            _library.usrsctp_deregister_address(self._handle)
            _associations.pop(self._number)
            _by_socket.pop(self._socket)

    def _flush(self) -> None:
        while self._waiting and not self._is_closed:
            data, info = self._waiting[0]
            sent = _library.usrsctp_sendv(
                self._socket, data, len(data), _ffi.NULL, 0, info,
                _ffi.sizeof("struct sctp_sendv_spa"), _SPA, 0,
            )  # fmt: skip
            if sent < 0:
                if _ffi.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
                    return
                raise OSError(_ffi.errno, "usrsctp_sendv")
            self._waiting.popleft()

    def _read_all(self) -> None:
        buffer = _ffi.new("char[]", BUFFER_BYTES >> 4)
        info = _ffi.new("struct sctp_rcvinfo *")
        from_size, info_size = _ffi.new("socklen_t *"), _ffi.new("socklen_t *")
        kind, flags = _ffi.new("unsigned int *"), _ffi.new("int *")
        while not self._is_closed:
            from_size[0], info_size[0] = 0, _ffi.sizeof("struct sctp_rcvinfo")
            flags[0] = 0
            size = _library.usrsctp_recvv(
                self._socket, buffer, len(buffer), _ffi.NULL, from_size, info, info_size, kind,
                flags,
            )  # fmt: skip
            if size <= 0:
                return
            data = bytes(_ffi.buffer(buffer, size))
            if flags[0] & _MSG_NOTIFICATION:
                self._notified(data)
            else:
                self._received(info, data, bool(flags[0] & _MSG_EOR))

    def _received(self, info: Any, data: bytes, is_end: bool) -> None:
        # With I-DATA the parts of messages on several streams come mixed.
        key = (info.rcv_sid, bool(info.rcv_flags & _UNORDERED))
        whole = self._parts.setdefault(key, bytearray())
        whole += data
        if is_end:
            del self._parts[key]
            ppid = socket.ntohl(info.rcv_ppid)
            self.events.on_message(Received(stream_id=key[0], ppid=ppid, data=bytes(whole)))

    def _notified(self, data: bytes) -> None:
        kind = int.from_bytes(data[:2], "little")
        if kind == _ASSOC_CHANGE:
            head = _ffi.from_buffer("struct sctp_assoc_change *", data, require_writable=False)
            if head.sac_state == _COMM_UP:
                features = data[_ffi.sizeof("struct sctp_assoc_change") :]
                self.is_interleaving = _SUPPORTS_INTERLEAVING in features
                self.events.on_up()
            elif head.sac_state in (_COMM_LOST, _SHUTDOWN_COMP, _CANT_START):
                self.events.on_down()
        elif kind == _STREAM_RESET_EVENT:
            size = _ffi.sizeof("struct sctp_stream_reset_event")
            reset = _ffi.from_buffer(
                "struct sctp_stream_reset_event *", data, require_writable=False
            )
            flags = reset.strreset_flags
            if flags & _RESET_REFUSED:
                return
            for at in range(size, reset.strreset_length, 2):
                stream_id = int.from_bytes(data[at : at + 2], "little")
                if flags & _RESET_INCOMING:
                    self.events.on_incoming_reset(stream_id)
                if flags & _RESET_OUTGOING:
                    self.events.on_outgoing_reset(stream_id)

    # --- options ----------------------------------------------------------------------------------
    def _set_options(self, is_interleaving: bool) -> None:
        one = _ffi.new("int *", 1)
        self._set(_NODELAY, one)
        self._set(_RECVRCVINFO, one)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self._set(option, _ffi.new("int *", BUFFER_BYTES), level=_SOL_SOCKET)
        linger = _ffi.new("int[2]", [1, 0])  # close at once, with an ABORT
        self._set(socket.SO_LINGER, linger, 8, level=_SOL_SOCKET)
        if is_interleaving:
            self._set(_FRAGMENT_INTERLEAVE, _ffi.new("int *", 2))
            self._set(_INTERLEAVING_SUPPORTED, self._value("sctp_assoc_value", assoc_value=1))
        self._set(_ENABLE_STREAM_RESET, self._value("sctp_assoc_value", assoc_value=1))
        self._set(
            _INITMSG,
            self._value(
                "sctp_initmsg", sinit_num_ostreams=_MAX_STREAMS, sinit_max_instreams=_MAX_STREAMS
            ),
        )
        self._set(
            _PEER_ADDR_PARAMS,
            self._value(
                "sctp_paddrparams",
                spp_pathmtu=PACKET_BYTES,
                spp_flags=_HB_ENABLE | _PMTUD_DISABLE,
            ),
        )
        for kind in (_ASSOC_CHANGE, _STREAM_RESET_EVENT):
            self._set(_EVENT, self._value("sctp_event", se_type=kind, se_on=1))

    @staticmethod
    def _value(struct: str, **fields: int) -> Any:
        value = _ffi.new(f"struct {struct} *")
        for name, number in fields.items():
            setattr(value, name, number)
        return value

    def _set(
        self, option: int, value: Any, size: int | None = None, *, level: int = _IPPROTO_SCTP
    ) -> None:
        size = _ffi.sizeof(_ffi.typeof(value).item) if size is None else size
        if _library.usrsctp_setsockopt(self._socket, level, option, value, size) < 0:
            raise OSError(_ffi.errno, f"usrsctp_setsockopt {option:#x}")

    def _address(self, port: int) -> Any:
        address = _ffi.new("struct sockaddr_conn *")
        address.sconn_family = _AF_CONN
        address.sconn_port = socket.htons(port)
        address.sconn_addr = self._handle
        return address

    def _call(self, name: str, address: Any) -> None:
        function = getattr(_library, f"usrsctp_{name}")
        result = function(self._socket, address, _ffi.sizeof("struct sockaddr_conn"))
        if result < 0 and _ffi.errno != errno.EINPROGRESS:
            raise OSError(_ffi.errno, f"usrsctp_{name}")
