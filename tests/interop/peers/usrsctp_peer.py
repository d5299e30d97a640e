"""usrsctp under data channels: UDP without ICE, OpenSSL's DTLS, usrsctp, and a DCEP of its own."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import secrets
import struct
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from .agent import Channel, Connection, Message, serve
from .usrsctp_library import Association, Received, tick

TICK_MS = 10
SCTP_PORT = 6_000
DTLS_MTU = 1_200
BIO_BYTES = 65_536
UNCHOSEN = -1
"""The stream id of a channel while the role in DTLS is not known."""

PPID_DCEP, PPID_STRING, PPID_BINARY, PPID_STRING_EMPTY, PPID_BINARY_EMPTY = 50, 51, 53, 56, 57
OPEN, ACK = 3, 2
_HEAD = struct.Struct("!BBHIHH")

_SDP = """v=0
o=- {number} 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=application {port} UDP/DTLS/SCTP webrtc-datachannel
a=setup:{setup}
a=fingerprint:sha-256 {fingerprint}
a=sctp-port:{sctp_port}
a=max-message-size:1048576
"""


def _make_certificate() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "peer")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    return builder.not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256()), key


def _read(sdp: str) -> dict[str, str]:
    """Return what an SDP says, by the name of the line or the attribute."""
    found: dict[str, str] = {}
    for line in sdp.splitlines():
        kind, _, value = line.partition("=")
        name, _, rest = value.partition(":") if kind == "a" else (kind, "", value)
        found[name] = rest
    return found


class _Channel(Channel):
    def __init__(self, connection: _Connection, stream_id: int, options: dict[str, Any]) -> None:
        super().__init__()
        self._connection = connection
        self.stream_id = stream_id
        self.options = options
        self.arrived: list[int] = []  # places among all messages of the connection
        self.is_reset_here = False

    def info(self) -> dict[str, Any]:
        is_interleaving = self._connection.association.is_interleaving
        measured = {"arrived": self.arrived, "interleaving": is_interleaving}
        return {"id": self.stream_id, **self.options, **measured}

    def send(self, message: Message) -> None:
        if isinstance(message, str):
            ppid, data = PPID_STRING if message else PPID_STRING_EMPTY, message.encode()
        else:
            ppid, data = PPID_BINARY if message else PPID_BINARY_EMPTY, message
        self._connection.association.send(
            self.stream_id,
            ppid,
            data or b"\0",
            is_ordered=self.options.get("ordered", True),
            max_retr=self.options.get("maxRetransmits"),
            max_time_ms=self.options.get("maxPacketLifeTime"),
        )

    def close(self) -> None:
        if not self.is_reset_here:
            self.is_reset_here = True
            self._connection.association.reset(self.stream_id)

    def deliver(self, ppid: int, data: bytes) -> None:
        if ppid in (PPID_STRING, PPID_STRING_EMPTY):
            self.messages.put_nowait("" if ppid == PPID_STRING_EMPTY else data.decode())
        else:
            self.messages.put_nowait(b"" if ppid == PPID_BINARY_EMPTY else data)


class _Connection(Connection, asyncio.DatagramProtocol):
    numbers = itertools.count(1)

    def __init__(self, options: dict[str, Any]) -> None:
        Connection.__init__(self)
        self._is_interleaving = options.get("interleaving", True)
        self._certificate, key = _make_certificate()
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        context.use_certificate(self._certificate)
        context.use_privatekey(key)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *given: True)
        self._dtls = SSL.Connection(context)
        self._dtls.set_ciphertext_mtu(DTLS_MTU)
        self._is_secure = False
        self._is_client: bool | None = None
        self._remote: tuple[str, int] | None = None
        self._remote_fingerprint = ""
        self._early: list[bytes] = []
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._channels: dict[int, _Channel] = {}
        self._unnamed: list[_Channel] = []
        self._places = itertools.count(1)
        self._is_up = False
        self.association: Association = None  # type: ignore[assignment]

    # --- signalling -------------------------------------------------------------------------------
    async def offer(self) -> str:
        return self._describe("actpass")

    async def answer(self, sdp: str) -> str:
        setup = "passive" if _read(sdp)["setup"] == "active" else "active"
        self._start(sdp, is_client=setup == "active")
        return self._describe(setup)

    async def accept(self, sdp: str) -> None:
        self._start(sdp, is_client=_read(sdp)["setup"] == "passive")

    def _describe(self, setup: str) -> str:
        text = _SDP.format(
            number=secrets.randbits(31),
            port=self._transport.get_extra_info("sockname")[1],
            setup=setup,
            fingerprint=self._certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
            sctp_port=SCTP_PORT,
        )
        return text.replace("\n", "\r\n")

    def _start(self, sdp: str, *, is_client: bool) -> None:
        told = _read(sdp)
        self._remote = ("127.0.0.1", int(told["m"].split()[1]))
        self._remote_fingerprint = told["fingerprint"]
        self._is_client = is_client
        for channel in self._unnamed:
            self._name(channel)
        self.association = Association(
            next(self.numbers),
            local_port=SCTP_PORT,
            remote_port=int(told["sctp-port"]),
            send_packet=self._send_packet,
            is_interleaving=self._is_interleaving,
        )
        events = self.association.events
        events.on_up, events.on_down = self._up, self._down
        events.on_message = self._message
        events.on_incoming_reset = self._reset_there
        if is_client:
            self._dtls.set_connect_state()
        else:
            self._dtls.set_accept_state()
        self._shake_hands()
        early, self._early = self._early, []
        for datagram in early:
            self._take(datagram)

    # --- DTLS -------------------------------------------------------------------------------------
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._remote is None:
            self._early.append(data)
        else:
            self._take(data)

    def _take(self, datagram: bytes) -> None:
        self._dtls.bio_write(datagram)
        if not self._is_secure:
            self._shake_hands()
        try:
            while self._is_secure:
                self.association.receive(self._dtls.recv(BIO_BYTES))
        except SSL.WantReadError:
            pass
        except SSL.Error:  # the close alert among them
            self._is_secure = False
            self._down()
        self._drain()

    def _shake_hands(self) -> None:
        try:
            self._dtls.do_handshake()
        except SSL.WantReadError:
            self._drain()
            timeout_s = self._dtls.DTLSv1_get_timeout()
            if self._timer is None and timeout_s is not None:
                self._timer = asyncio.get_running_loop().call_later(timeout_s, self._timed_out)
            return
        self._drain()
        certificate = self._dtls.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        told = self._remote_fingerprint.partition(" ")[2].replace(":", "").lower()
        if certificate.fingerprint(hashes.SHA256()).hex() != told:
            raise SSL.Error("the certificate is not the one of the SDP")
        self._is_secure = True
        self.association.connect()

    def _timed_out(self) -> None:
        self._timer = None
        if not self._is_secure:
            self._dtls.DTLSv1_handle_timeout()
            self._shake_hands()

    def _send_packet(self, packet: bytes) -> None:
        if self._is_secure:
            self._dtls.send(packet)
            self._drain()

    def _drain(self) -> None:
        """Send records, one flight's datagrams each of whole records."""
        try:
            while True:
                data = self._dtls.bio_read(BIO_BYTES)
                while data:
                    size = 13 + int.from_bytes(data[11:13], "big")
                    self._transport.sendto(data[:size], self._remote)
                    data = data[size:]
        except SSL.WantReadError:
            return

    # --- channels ---------------------------------------------------------------------------------
    def open(self, label: str, options: dict[str, Any]) -> Channel:
        channel = _Channel(self, options.get("id", UNCHOSEN), {"label": label, **options})
        if self._is_client is None:
            self._unnamed.append(channel)  # ids depend on the role
        else:
            self._name(channel)
        return channel

    def _name(self, channel: _Channel) -> None:
        if channel.stream_id == UNCHOSEN:
            first = 0 if self._is_client else 1
            channel.stream_id = next(
                item for item in itertools.count(first, 2) if item not in self._channels
            )
        self._channels[channel.stream_id] = channel
        if self._is_up:
            self._announce(channel)

    def _announce(self, channel: _Channel) -> None:
        options = channel.options
        if options.get("negotiated"):
            channel.opened.set()
            return
        kind, value = 0, 0
        if "maxRetransmits" in options:
            kind, value = 1, options["maxRetransmits"]
        elif "maxPacketLifeTime" in options:
            kind, value = 2, options["maxPacketLifeTime"]
        if not options.get("ordered", True):
            kind |= 0x80
        label, protocol = options["label"].encode(), options.get("protocol", "").encode()
        priority = options.get("priority", 256)
        head = _HEAD.pack(OPEN, kind, priority, value, len(label), len(protocol))
        self.association.send(channel.stream_id, PPID_DCEP, head + label + protocol)

    def _up(self) -> None:
        self._is_up = True
        for channel in list(self._channels.values()):
            self._announce(channel)

    def _down(self) -> None:
        self._is_up = False
        for channel in self._channels.values():
            channel.closed.set()

    def _message(self, message: Received) -> None:
        channel = self._channels.get(message.stream_id)
        if message.ppid != PPID_DCEP:
            if channel is not None:
                channel.arrived.append(next(self._places))
                channel.deliver(message.ppid, message.data)
        elif message.data[0] == ACK and channel is not None:
            channel.opened.set()
        elif message.data[0] == OPEN and channel is None:
            self._opened_by_peer(message)

    def _opened_by_peer(self, message: Received) -> None:
        _, kind, priority, value, label_size, protocol_size = _HEAD.unpack_from(message.data)
        rest = message.data[_HEAD.size :]
        assert len(rest) == label_size + protocol_size
        options: dict[str, Any] = {
            "label": rest[:label_size].decode(),
            "protocol": rest[label_size:].decode(),
            "ordered": not kind & 0x80,
            "maxRetransmits": value if kind & 0x7F == 1 else None,
            "maxPacketLifeTime": value if kind & 0x7F == 2 else None,
            "priority": priority,
        }
        channel = _Channel(self, message.stream_id, options)
        self._channels[message.stream_id] = channel
        self.association.send(message.stream_id, PPID_DCEP, bytes([ACK]))
        channel.opened.set()
        self.incoming.put_nowait(channel)

    def _reset_there(self, stream_id: int) -> None:
        channel = self._channels.pop(stream_id, None)
        if channel is not None:
            channel.close()
            channel.closed.set()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.association is not None:
            self.association.close()
        self._transport.close()


async def _connect(options: dict[str, Any]) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_datagram_endpoint(
        lambda: _Connection(options), ("127.0.0.1", 0)
    )
    return connection


async def _main() -> None:
    async def keep_time() -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(TICK_MS / 1000)
            elapsed_ms = int((loop.time() - last) * 1000)
            last += elapsed_ms / 1000
            tick(elapsed_ms)

    clock = asyncio.create_task(keep_time())
    await serve(_connect)
    clock.cancel()


if __name__ == "__main__":
    asyncio.run(_main())
