"""The capture of one TCP connection: segments made from what was sent and received."""

from __future__ import annotations

from dcsdk.interfaces.paths import Address
from dcsdk.io.capture import Capture

_FIN, _SYN, _PSH, _ACK = 0x01, 0x02, 0x08, 0x10


class CapturedStream:
    """Writes one connection into a capture, with a handshake and numbers of our own.

    What was received is held back until the next thing happens: by then the reader has looked at
    it, and the secrets that it made known stand in front of it, where decoders need them.

    Args:
        capture: not closed here.
        local: our end.
        remote: the peer's.
        is_opener: our side opened the connection.
    """

    def __init__(
        self, capture: Capture, local: Address, remote: Address, *, is_opener: bool
    ) -> None:
        self._capture = capture
        self._local, self._remote = local, remote
        self._sent = self._taken = 0
        self._held = b""
        self._is_finished = self._is_peer_finished = False
        self._write(b"", _SYN, is_ours=is_opener)
        self._write(b"", _SYN | _ACK, is_ours=not is_opener)

    def received(self, data: bytes) -> None:
        """Take what was read; ``b""`` for the end of the stream."""
        self._release()
        self._held = data
        if not data and not self._is_peer_finished:
            self._is_peer_finished = True
            self._write(b"", _FIN | _ACK, is_ours=False)

    def sent(self, data: bytes) -> None:
        """Write what is sent."""
        self._release()
        self._write(data, _PSH | _ACK, is_ours=True)

    def finished(self) -> None:
        """Write the end of what our side sends. Idempotent."""
        if not self._is_finished:
            self._is_finished = True
            self._release()
            self._write(b"", _FIN | _ACK, is_ours=True)

    def _release(self) -> None:
        held, self._held = self._held, b""
        if held:
            self._write(held, _PSH | _ACK, is_ours=False)

    def _write(self, data: bytes, flags: int, *, is_ours: bool) -> None:
        source, destination = self._local, self._remote
        sequence, acknowledgement = self._sent, self._taken
        if not is_ours:
            source, destination = destination, source
            sequence, acknowledgement = acknowledgement, sequence
        self._capture.segments(
            source,
            destination,
            data,
            sequence=sequence,
            acknowledgement=acknowledgement,
            flags=flags,
        )
        # SYN and FIN count as a byte each (RFC 9293 3.4).
        length = len(data) + bool(flags & (_SYN | _FIN))
        if is_ours:
            self._sent += length
        else:
            self._taken += length
