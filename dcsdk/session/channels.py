"""Data channels of a session: what its conveniences need beside the medium's own names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypedDict

from dcsdk.datachannel.bootstrap import Bootstrap
from dcsdk.datachannel.line import DATA_CHANNEL, ChannelLine, LineRole
from dcsdk.interfaces.channel import ChannelParameters

if TYPE_CHECKING:
    from dcsdk.sdp.fingerprint import Fingerprint
    from dcsdk.session.line import MediaLine
    from dcsdk.session.services import SessionServices


class ChannelOptions(TypedDict, total=False):
    """What may be said of a channel that is opened.

    Attributes:
        app_id: the application the channel belongs to (``a=3gpp-req-app``), or ``None``.
        label: shown to the other side.
        is_ordered: messages arrive in the order sent.
        max_retr: give a message up after this many retransmissions.
        max_time_ms: give a message up after this time, milliseconds; excludes ``max_retr``.
        priority: 256 is normal.
        pinned_fingerprint: the other UE's certificate, known beforehand: proves e2e.
    """

    app_id: str | None
    label: str
    is_ordered: bool
    max_retr: int | None
    max_time_ms: int | None
    priority: int
    pinned_fingerprint: Fingerprint | None


def channel_parameters(subprotocol: str, options: ChannelOptions) -> ChannelParameters:
    """Return the channel that is asked for; the session chooses its stream id."""
    return ChannelParameters(
        label=options.get("label", ""),
        subprotocol=subprotocol,
        is_ordered=options.get("is_ordered", True),
        max_retr=options.get("max_retr"),
        max_time_ms=options.get("max_time_ms"),
        priority=options.get("priority", 256),
    )


def channel_lines(lines: Iterable[MediaLine], role: LineRole) -> list[ChannelLine]:
    """Return the lines of data channels that have a role."""
    found: list[ChannelLine] = [line.media.app for line in lines if line.kind == DATA_CHANNEL]
    return [line for line in found if line.role is role]


def application_line(lines: Iterable[MediaLine], app_id: str | None) -> ChannelLine | None:
    """Return the line that the channels of an application share, if it is there."""
    applications = channel_lines(lines, LineRole.APPLICATION)
    return next((line for line in applications if line.app_id == app_id), None)


def bootstrap_of(lines: Iterable[MediaLine], services: SessionServices) -> Bootstrap:
    """Return the bootstrap channels of a session, available or not."""
    found = channel_lines(lines, LineRole.BOOTSTRAP)
    return Bootstrap(
        found[0] if found else None,
        http=services.protocols.get("http"),
        provider=services.provider,
    )
