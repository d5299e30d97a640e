"""What session descriptions on the trace say about security, for people."""

from __future__ import annotations

from collections import deque

from dcsdk.emulator.lab.trace import TraceBus, TraceEvent
from dcsdk.errors import ParseError
from dcsdk.sdp.ims_attributes import (
    BDC_USED_BY_ATTRIBUTE,
    E2AE_ATTRIBUTE,
    E2DCE_ATTRIBUTE,
    REQ_APP_ATTRIBUTE,
)
from dcsdk.sdp.session import SessionDescription

MAX_KEPT = 256
"""Descriptions kept between two looks; the oldest go first."""

SECURITY_ATTRIBUTES = frozenset(
    {
        *("fingerprint", "setup", "tls-id", "dcmap", "crypto", "key-mgmt"),
        *(E2AE_ATTRIBUTE, E2DCE_ATTRIBUTE, BDC_USED_BY_ATTRIBUTE, REQ_APP_ATTRIBUTE),
    }
)


class SecurityLines:
    """Collects the security lines of SDP between UEs and the P-CSCF.

    Args:
        bus: where messages are shown.
        access: name of the UEs' end in the trace.
    """

    def __init__(self, bus: TraceBus, access: str = "P-CSCF") -> None:
        self._access = access
        self._inside = frozenset({"S-CSCF", "IMS-AS"})
        self._kept: deque[tuple[str, list[str]]] = deque(maxlen=MAX_KEPT)
        bus.subscribe(self._look)

    def take(self) -> list[tuple[str, list[str]]]:
        """Return (title, lines) of each description since the last call."""
        taken = list(self._kept)
        self._kept.clear()
        return taken

    def _look(self, event: TraceEvent) -> None:
        ends = {event.source, event.destination}
        if event.protocol != "SIP" or self._access not in ends or ends & self._inside:
            return
        lines = security_lines(event.data.partition(b"\r\n\r\n")[2])
        if lines:
            title = f"{event.source} -> {event.destination}: {event.summary}"
            self._kept.append((title, lines))


def security_lines(body: bytes) -> list[str]:
    """Return the ``m=`` lines of a description, each with its security attributes under it."""
    try:
        description = SessionDescription.parse(body)
    except ParseError:
        return []
    lines = []
    for media in description.media:
        lines.append(f"m={media.media} {media.port} {media.proto} {' '.join(media.formats)}")
        lines += [
            f"a={attribute}"
            for attribute in media.attributes
            if attribute.name in SECURITY_ATTRIBUTES
        ]
    return lines
