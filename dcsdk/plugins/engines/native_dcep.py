"""Channels opened in band on one association of the native engine (DCEP, RFC 8832)."""

from __future__ import annotations

import logging
from functools import partial
from typing import Protocol

from dcsdk.datachannel.channel import DataChannel
from dcsdk.errors import ChannelClosed, LocalProtocolError, ParseError, RemoteProtocolError
from dcsdk.interfaces.channel import ChannelParameters, ChannelState
from dcsdk.io.mailbox import Mailbox
from dcsdk.sctp.wire.dcep import DCEP_ACK, DcepOpen, Reliability
from dcsdk.sdp.association import DtlsRole

logger = logging.getLogger(__name__)


class DcepStreams(Protocol):
    """What the channel table does for DCEP."""

    @property
    def role(self) -> DtlsRole | None:
        """Ours in DTLS, known when the association is started."""

    def adopt(self, stream_id: int, parameters: ChannelParameters) -> DataChannel:
        """Make the channel that the peer opened, ready for use.

        Raises:
            LocalProtocolError: the id is out of range, or there are too many channels.
        """

    def send_control(self, channel: DataChannel, data: bytes) -> None:
        """Send a DCEP message, ordered and reliable whatever the channel is (RFC 8832 6)."""

    def refuse_stream(self, stream_id: int) -> None:
        """Reset a stream that belongs to no channel."""

    def acknowledged(self, channel: DataChannel) -> None:
        """From now on messages may leave without order, where the channel is so (RFC 8832 6)."""


class Dcep:
    """The in-band opening of channels, ours and the peer's.

    Args:
        streams: of the association.
        is_accepted: take channels that the peer opens.
        limit: channels that wait for the program at most.

    Attributes:
        incoming: channels that the peer opened.
        refused: OPENs and other DCEP messages that were answered with a reset.
    """

    def __init__(self, streams: DcepStreams, *, is_accepted: bool, limit: int) -> None:
        self.incoming: Mailbox[DataChannel] = Mailbox(limit)
        self.refused = 0
        self._streams = streams
        self._is_accepted = is_accepted
        self._opening: dict[int, bytes] = {}  # ours, of which the peer knows nothing yet
        self._unacknowledged: set[int] = set()

    # --- ours -------------------------------------------------------------------------------------
    def check(self, stream_id: int) -> None:
        """Refuse an id that is the peer's to give.

        Raises:
            LocalProtocolError: it is, or our role is not known.
        """
        role = self._streams.role
        if role is None:
            raise LocalProtocolError(
                "channels can be opened by DCEP when the DTLS role is known", source="RFC 8832 6"
            )
        if stream_id % 2 != _parity(role):
            raise LocalProtocolError(
                f"stream {stream_id} is for the peer to open: the DTLS client has the even ones",
                source="RFC 8832 6",
            )

    def expect(self, channel: DataChannel, opening: bytes) -> None:
        """Note a channel that is to be opened.

        Args:
            channel: ours.
            opening: the DATA_CHANNEL_OPEN.
        """
        self._opening[channel.stream_id] = opening
        channel.on_dcep = partial(self._received_on, channel)

    def open(self, channel: DataChannel) -> None:
        """Send the OPEN of a channel, if it is one of ours; data may follow at once."""
        opening = self._opening.pop(channel.stream_id, None)
        if opening is not None:
            self._unacknowledged.add(channel.stream_id)
            self._streams.send_control(channel, opening)

    def is_unacknowledged(self, stream_id: int) -> bool:
        """The peer has not answered our OPEN."""
        return stream_id in self._opening or stream_id in self._unacknowledged

    def was_refused(self, channel: DataChannel) -> bool:
        """Tell whether the peer's reset of a stream is its answer to our OPEN."""
        if channel.stream_id not in self._unacknowledged:
            return False
        self.forget(channel.stream_id)
        channel.refused(ChannelClosed("the peer refused the channel", source="RFC 8832 6"))
        return True

    def forget(self, stream_id: int) -> None:
        """The channel is gone; its id may be used again."""
        self._opening.pop(stream_id, None)
        self._unacknowledged.discard(stream_id)

    def close(self) -> None:
        """The association is over."""
        self.incoming.close()
        self._opening.clear()
        self._unacknowledged.clear()

    # --- the peer's -------------------------------------------------------------------------------
    def received(self, stream_id: int, data: bytes) -> None:
        """Take a DCEP message on a stream without a channel.

        What is wrong costs that stream and nothing else (RFC 8832 6).
        """
        try:
            opening = DcepOpen.decode(data)
            self._accept(stream_id, opening)
        except (ParseError, LocalProtocolError, RemoteProtocolError) as exc:
            self.refused += 1
            logger.debug("stream=%d DCEP refused: %s", stream_id, exc)
            self._streams.refuse_stream(stream_id)

    def _accept(self, stream_id: int, opening: DcepOpen) -> None:
        if not self._is_accepted:
            raise LocalProtocolError("channels are agreed in SDP only")
        role = self._streams.role
        if role is None or stream_id % 2 == _parity(role):
            raise RemoteProtocolError(
                f"stream {stream_id} is not for the peer to open", source="RFC 8832 6"
            )
        if self.incoming.is_full:
            raise LocalProtocolError("too many channels wait for the program")
        channel = self._streams.adopt(
            stream_id,
            ChannelParameters(
                stream_id=stream_id,
                label=opening.label,
                subprotocol=opening.subprotocol,
                is_ordered=opening.is_ordered,
                max_retr=opening.max_retr,
                max_time_ms=opening.max_time_ms,
                priority=opening.priority,
                is_negotiated=False,
            ),
        )
        channel.on_dcep = partial(self._received_on, channel)
        self._streams.send_control(channel, DCEP_ACK)
        self.incoming.put(channel)

    def _received_on(self, channel: DataChannel, data: bytes) -> None:
        """Take a DCEP message on a stream that has a channel."""
        if channel.state is ChannelState.CLOSED:
            return
        if data != DCEP_ACK:
            self.refused += 1
            channel.refused(
                RemoteProtocolError(
                    f"stream {channel.stream_id}: a DCEP message on a channel that is open",
                    source="RFC 8832 6",
                )
            )
        elif channel.stream_id in self._unacknowledged:
            self._unacknowledged.discard(channel.stream_id)
            self._streams.acknowledged(channel)
        # Any other ACK says nothing new.


def encode_open(parameters: ChannelParameters) -> bytes:
    """Return the DATA_CHANNEL_OPEN for a channel.

    Raises:
        LocalProtocolError: a text or a number does not fit.
    """
    reliability, limit = Reliability.RELIABLE, 0
    if parameters.max_retr is not None:
        reliability, limit = Reliability.LIMITED_RETRANSMISSIONS, parameters.max_retr
    elif parameters.max_time_ms is not None:
        reliability, limit = Reliability.LIMITED_LIFETIME, parameters.max_time_ms
    return DcepOpen(
        label=parameters.label,
        subprotocol=parameters.subprotocol,
        is_ordered=parameters.is_ordered,
        reliability=reliability,
        limit=limit,
        priority=parameters.priority,
    ).encode()


def _parity(role: DtlsRole) -> int:
    """Return the parity of the ids that a side gives: the DTLS client's are even."""
    return 0 if role == "client" else 1
