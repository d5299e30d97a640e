"""Captures on loopback and lets tshark decode what was captured."""

from __future__ import annotations

import csv
import os
import secrets
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

MARKER_TIMEOUT_S = 20
STOP_TIMEOUT_S = 20
DECODE_TIMEOUT_S = 120
BUFFER_MIB = 64
"""Of the kernel's capture buffer, so that nothing is lost while the processors are busy."""

MARKER_BYTES = 16
PIECE_BYTES = 1 << 16

LINKTYPE_SCTP = 248
ERROR = "_ws.malformed || _ws.expert.severity == 8388608"
"""Display filter of what tshark cannot read or calls an error."""


class CaptureIncomplete(RuntimeError):
    """The capture ended, or time ran out, before everything on the wire was in the file."""


@contextmanager
def captured(tshark: str, path: Path) -> Iterator[None]:
    """Capture everything on loopback while the context lasts, up to its last packet.

    A program that captures and is told to stop drops what is still in the kernel's buffer. The
    end is therefore marked with a datagram of its own, and the capture goes on until the marker
    has come through.

    Args:
        tshark: path of the program.
        path: file to write.

    Raises:
        CaptureIncomplete: tshark does not start, ends early, or gives no marker in time.
    """
    command = [tshark, "-q", "-i", "lo", "-f", "tcp or udp", "-B", str(BUFFER_MIB), "-w", "-"]
    with (
        # bound before the traffic begins, so that none of it has the marker's port
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marked,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        marked.bind(("127.0.0.1", 0))
        _wait_started(process)
        marker = secrets.token_bytes(MARKER_BYTES)
        seen: Future[None] = Future()
        copying = Thread(target=_copy, args=(process, path, marker, seen), name="capture")
        copying.start()
        try:
            yield
            marked.sendto(marker, marked.getsockname())
            try:
                seen.result(timeout=MARKER_TIMEOUT_S)
            except TimeoutError as exc:
                raise CaptureIncomplete(f"no marker within {MARKER_TIMEOUT_S} s") from exc
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=STOP_TIMEOUT_S)
            finally:
                process.kill()
                copying.join()


def _wait_started(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    said = b""
    for line in process.stderr:
        said += line
        if b"Capture started" in line:
            return
    raise CaptureIncomplete(f"tshark does not capture: {said.decode()}")


def _copy(process: subprocess.Popen[bytes], path: Path, marker: bytes, seen: Future[None]) -> None:
    """Write the capture into its file until tshark ends, and tell when the marker is in it."""
    assert process.stdout is not None
    tail = b""
    with path.open("wb") as file:
        while piece := os.read(process.stdout.fileno(), PIECE_BYTES):
            file.write(piece)
            tail = tail[-MARKER_BYTES:] + piece
            if marker in tail and not seen.done():
                seen.set_result(None)
    if not seen.done():
        seen.set_exception(CaptureIncomplete("tshark ended before the marker came"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """Reads one capture file.

    Attributes:
        tshark: path of the program.
        path: the capture.
        options: ``-o`` and ``-d`` options.
    """

    tshark: str
    path: Path
    options: tuple[str, ...] = ()

    def rows(self, display_filter: str, *fields: str) -> list[list[str]]:
        """Return the fields of every packet that a display filter lets through.

        A field that occurs more than once in a packet has its values separated by commas.
        """
        command = [self.tshark, "-r", str(self.path), *self.options, "-Y", display_filter]
        command += ["-T", "fields", *(part for field in fields for part in ("-e", field))]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=DECODE_TIMEOUT_S
        )
        return list(csv.reader(done.stdout.splitlines(), delimiter="\t"))

    def values(self, display_filter: str, field: str) -> list[str]:
        """Return every value of one field, in the order of the capture."""
        return [
            value for row in self.rows(display_filter, field) if row for value in row[0].split(",")
        ]

    def errors(self, display_filter: str) -> list[list[str]]:
        """Return the packets of a kind that tshark cannot read or calls an error."""
        fields = ("frame.number", "_ws.col.Info", "_ws.expert.message")
        return self.rows(f"({display_filter}) && ({ERROR})", *fields)


def rewrap_sctp(dtls: Decoder, display_filter: str, path: Path) -> int:
    """Write the decrypted DTLS records as SCTP packets into a capture of their own.

    tshark decrypts DTLS, but its command line hands the plaintext to no SCTP dissector.

    Args:
        dtls: the capture, with the key log among its options.
        display_filter: which packets.
        path: file to write.

    Returns:
        How many packets were written.
    """
    rows = dtls.rows(f"({display_filter}) && data.data", "frame.time_epoch", "data.data")
    count = 0
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, LINKTYPE_SCTP))
        for time, records in rows:
            seconds, _, fraction = time.partition(".")
            for record in records.split(","):
                data = bytes.fromhex(record)
                size = len(data)
                file.write(struct.pack("<IIII", int(seconds), int(fraction[:6]), size, size))
                file.write(data)
                count += 1
    return count
