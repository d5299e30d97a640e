"""What a data channel's parts need of the media line that the channel is on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from dcsdk.datachannel.channel import DataChannel
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.security import SecurityReport


class ChannelLine(Protocol):
    """A media line with data channels."""

    @property
    def report(self) -> SecurityReport:
        """What protects the line."""

    @property
    def channels(self) -> Mapping[int, DataChannel]:
        """The channels in use, by stream id."""

    @property
    def is_closed(self) -> bool:
        """The line is refused, removed or lost."""

    def forget_offer(self, new: Sequence[Dcmap]) -> None:
        """The offer was refused or taken back: the line is what it was (RFC 3261 14.1)."""
