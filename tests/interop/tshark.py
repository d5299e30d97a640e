"""Captures on loopback and lets tshark decode what was captured."""

from __future__ import annotations

import csv
import signal
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_S = 20
DECODE_TIMEOUT_S = 120
BUFFER_MIB = 64
"""Of the kernel's capture buffer, so that nothing is lost while the processors are busy."""

LINKTYPE_SCTP = 248
ERROR = "_ws.malformed || _ws.expert.severity == 8388608"
"""Display filter of what tshark cannot read or calls an error."""


class Capture:
    """Captures everything on loopback while the context lasts.

    Args:
        tshark: path of the program.
        path: file to write.
    """

    def __init__(self, tshark: str, path: Path) -> None:
        self._command = [tshark, "-q", "-i", "lo", "-f", "tcp or udp", "-B", str(BUFFER_MIB)]
        self._command += ["-w", str(path)]
        self._path = path

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = ""
        for line in self._process.stderr:
            said += line
            if "Capture started" in line:
                return self
        raise RuntimeError(f"tshark does not capture: {said}")

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=START_TIMEOUT_S)


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
