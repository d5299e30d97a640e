"""Media lines with data channels, as programs, sessions and bootstrap see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol

from dcsdk.datachannel.channel import DataChannel
from dcsdk.interfaces.channel import ChannelParameters
from dcsdk.interfaces.media import MediaIntent
from dcsdk.security import SecurityReport

DATA_CHANNEL = "data_channel"
"""The name of the medium."""


class LineRole(Enum):
    """What the channels of a line are for (TS 26.114 6.2.10.1)."""

    BOOTSTRAP = "bootstrap"
    APPLICATION = "application"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChannels(MediaIntent):
    """A line of data channels.

    Attributes:
        bootstrap: the local bootstrap line, ids 0 and 10; its ``scope`` follows the registration:
            e2DCe is requested when both sides registered it, as TS 33.328 7.2.X says the UE
            shall. ``False`` is a line of application channels.
        app_id: the application that the channels belong to (``a=3gpp-req-app``), or ``None``.
        channels: wanted on a line of application channels from the beginning; their stream ids
            are chosen by the session.
    """

    kind: ClassVar[str] = DATA_CHANNEL
    bootstrap: bool = True
    app_id: str | None = None
    channels: tuple[ChannelParameters, ...] = ()


class ChannelLine(Protocol):
    """A media line with data channels."""

    @property
    def role(self) -> LineRole:
        """What its channels are for."""

    @property
    def app_id(self) -> str | None:
        """The application bound to it, or ``None``."""

    @property
    def security(self) -> SecurityReport:
        """What protects the line."""

    @property
    def channels(self) -> Mapping[int, DataChannel]:
        """The channels in use, by stream id."""

    @property
    def stream_ids(self) -> tuple[int, ...]:
        """The stream ids of the channels in use, in order."""

    @property
    def is_closed(self) -> bool:
        """The line is refused, removed or lost."""

    async def open(self, channels: Sequence[ChannelParameters]) -> list[DataChannel]:
        """Add channels by one re-offer.

        Raises:
            UnsupportedByPeer: one of them is refused; the others are closed again.
            CallRejected: the re-offer was refused; the line stays as it was.
        """

    def start_protocol(self, channel: DataChannel, *, is_opener: bool) -> Any:
        """Run the application protocol of a channel, or return the bare channel."""
