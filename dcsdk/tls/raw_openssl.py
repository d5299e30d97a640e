"""The hot path of DTLS by OpenSSL's own functions, past pyOpenSSL's methods: an option.

pyOpenSSL's methods cost more for each packet than OpenSSL's cryptography does. The functions below
them are reached through handles that pyOpenSSL and cryptography keep to themselves and may drop in
any release, so nothing here is used unless asked for and unless :func:`unavailable_reason` finds
that every handle is there and that records cross in both directions.

What goes wrong goes wrong as it does with the public methods: a call that fails is judged by
pyOpenSSL's own code, which raises the same exceptions and empties the same error queue.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any, NoReturn

from OpenSSL import SSL

from dcsdk.tls.certificate import Certificate
from dcsdk.tls.context import DtlsContext, PeerCheck
from dcsdk.tls.protection import MAX_OVERHEAD, PublicProtection, RecordProtection

# `None` where a release has none. Nobody makes a `RawProtection` then: see `unavailable_reason`.
_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)
_allocate: Any = getattr(SSL, "_no_zero_allocator", None)

_FLIGHTS = 8
_SAMPLES = (b"\x00", bytes(range(256)), bytes(1100))


class RawProtection:
    """Calls ``SSL_write``, ``SSL_read`` and the BIOs of one connection by their handles.

    The connection is kept, so what the handles point to lives as long as they do. OpenSSL is told
    the size of each buffer, and each call has its own: OpenSSL works without Python's lock, so one
    for all would be shared by threads.

    Args:
        connection: over memory BIOs.
    """

    __slots__ = ("_connection", "_from_ssl", "_into_ssl", "_ssl")

    def __init__(self, connection: SSL.Connection) -> None:
        handles: Any = connection
        self._connection = handles
        self._ssl, self._into_ssl, self._from_ssl = (
            handles._ssl,
            handles._into_ssl,
            handles._from_ssl,
        )

    def protect(self, packets: Sequence[bytes]) -> bytes:
        """Return one record for each packet, glued together."""
        write, ssl = _lib.SSL_write, self._ssl
        for packet in packets:
            result = write(ssl, packet, len(packet))
            if result <= 0:
                self._fail(result)
        room = len(packets) * (len(packets[0]) + MAX_OVERHEAD)
        buffer = _allocate("char[]", room)
        result = _lib.BIO_read(self._from_ssl, buffer, room)
        if result <= 0:
            self._fail(result, self._from_ssl)
        data: bytes = _ffi.buffer(buffer, result)[:]
        return data

    def unprotect(
        self, data: bytes | memoryview, count: int, size: int, packets: list[bytes]
    ) -> None:
        """Append the plaintext of glued records."""
        result = _lib.BIO_write(self._into_ssl, _ffi.from_buffer(data), len(data))
        if result <= 0:
            self._fail(result, self._into_ssl)
        read, ssl, append = _lib.SSL_read, self._ssl, packets.append
        buffer = _allocate("char[]", size)
        plaintext = _ffi.buffer(buffer, size)
        for _ in range(count):
            result = read(ssl, buffer, size)
            if result <= 0:
                self._fail(result)
            append(plaintext[:result])

    def _fail(self, result: int, bio: Any = None) -> NoReturn:
        """Raise what the public method would."""
        if bio is None:
            self._connection._raise_ssl_error(self._ssl, result)
        else:
            self._connection._handle_bio_errors(bio, result)
        raise SSL.Error([])  # a failed call gave nothing: its buffer must not be looked at


def is_raw_openssl_available() -> bool:
    """Tell whether the installed pyOpenSSL and cryptography allow it."""
    return unavailable_reason() is None


@functools.cache
def unavailable_reason() -> str | None:
    """Look for the handles and try them out, once; return ``None`` when all is well."""
    if _lib is None or _ffi is None or _allocate is None:
        return "pyOpenSSL has no handles of OpenSSL"
    try:
        _exchange_records()
    except Exception as exc:  # a handle that changed can fail in any way; all of them mean "no"
        return f"{type(exc).__name__}: {exc}"
    return None


class _SelfTestError(Exception):
    """The calls went through, and what came out is wrong."""


def _exchange_records() -> None:
    """Send records each way between an end that is raw and one that is not."""
    certificate = Certificate.generate()
    context = DtlsContext(certificate)
    client, server = SSL.Connection(context.ssl), SSL.Connection(context.ssl)
    for connection in (client, server):
        connection.set_app_data(PeerCheck([certificate.fingerprint]))
        connection.set_ciphertext_mtu(1200)
    client.set_connect_state()
    server.set_accept_state()
    for _ in range(_FLIGHTS):
        _move(client, server)
        _move(server, client)
    raw, public = RawProtection(client), PublicProtection(server)
    ways: list[tuple[RecordProtection, RecordProtection]] = [(raw, public), (public, raw)]
    for sender, receiver in ways:
        for sample in _SAMPLES:
            records = sender.protect([sample, sample])
            received: list[bytes] = []
            receiver.unprotect(records, 2, len(records) // 2, received)
            if received != [sample, sample]:
                raise _SelfTestError(f"{len(sample)} bytes came out as others")
    received = []
    try:
        raw.unprotect(records, 2, len(records) // 2, received)
    except SSL.WantReadError:
        return
    raise _SelfTestError("a replayed record was taken")


def _move(source: SSL.Connection, target: SSL.Connection) -> None:
    """Go on with one end's handshake and carry over what it says."""
    with contextlib.suppress(SSL.WantReadError):  # it waits for the other end
        source.do_handshake()
    with contextlib.suppress(SSL.WantReadError):  # it has nothing to say
        target.bio_write(source.bio_read(1 << 16))
