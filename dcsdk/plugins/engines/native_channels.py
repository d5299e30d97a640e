"""The data channels of one native association: ids, delivery, backpressure, closing."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from dcsdk.datachannel.channel import PPID_DCEP, DataChannel
from dcsdk.errors import (
    ChannelClosed,
    DcsdkError,
    LocalProtocolError,
    MessageTooLarge,
    ProtocolError,
    RemoteProtocolError,
)
from dcsdk.interfaces import ChannelParameters, ChannelStats
from dcsdk.interfaces.channel import ChannelState, Submit
from dcsdk.interfaces.transports import DatagramTransport
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.io.secure.sctp_driver import SctpDriver
from dcsdk.plugins.engines.channel_parameters import check_channel_parameters
from dcsdk.plugins.engines.native_dcep import Dcep, encode_open
from dcsdk.sctp.association import SctpAssociation
from dcsdk.sctp.base.stream_set import StreamSet
from dcsdk.sctp.receiving.streams import MESSAGE_OVERHEAD
from dcsdk.sdp.association import DtlsRole
from dcsdk.security import SecurityReport

MAX_STREAM_ID = 65_534
"""65535 is reserved (RFC 8832 3)."""

MAX_EARLY_STREAMS, MAX_EARLY_BYTES = 64, 256 << 10
"""What waits for channels that are not open here yet: the peer may send as soon as it has our
offer, before we have its answer (RFC 8864 6.4). Beyond that the stream is reset."""

MAX_RESETTING = 1024
"""Streams whose reset the peer has not answered yet; of more that it uses without a channel it is
not told that nobody is there."""

MAX_PASSED_OVER = 8
"""Channels whose message needs more room than there is: so many keep their turn while those behind
them go on; when there are more, all wait."""

WINDOW_STEPS = 16
"""The peer is told of more room in steps of this part of the receive window."""


@dataclass(slots=True)
class _EarlyStream:
    """Messages on a stream that has no channel yet."""

    messages: list[tuple[int, bytes]] = field(default_factory=list)
    is_reset: bool = False


class ChannelTable:
    """Carries the channels of one association. See ``ChannelHost``.

    Args:
        config: limits.
        transport: of the association.

    Attributes:
        by_id: channels whose stream id is in use.
        dcep: opens channels in band.
        early_dropped: messages thrown away because too much came without a channel.
    """

    def __init__(self, config: EngineConfig, transport: DatagramTransport) -> None:
        self._transport = transport
        self._config = config
        self.by_id: dict[int, DataChannel] = {}
        self.dcep = Dcep(self, is_accepted=config.is_dcep_accepted, limit=config.max_channels)
        self._early: dict[int, _EarlyStream] = {}
        self._early_bytes = 0
        self._blocked: OrderedDict[int, DataChannel] = OrderedDict()
        self._promised = 0  # bytes for sends that were woken since the last settling
        self._resetting: set[int] = set()
        self._known = StreamSet()
        self._sctp: SctpAssociation | None = None
        self._driver: SctpDriver | None = None
        self._now = 0.0
        self._is_established = False
        self._streams = MAX_STREAM_ID + 1
        self._max_message_size = 0
        self._limit = config.send_limit(0)
        self.early_dropped = self._consumed = 0

    @property
    def report(self) -> SecurityReport:
        """What protects the association."""
        return self._transport.report

    @property
    def role(self) -> DtlsRole | None:
        """Ours in DTLS, by which ids are given (RFC 8832 6); known once it is started."""
        if self._sctp is None:
            return None
        return "client" if self._transport.is_client else "server"

    def __len__(self) -> int:
        return len(self.by_id)

    def stats(self) -> tuple[ChannelStats, ...]:
        """What the channels did so far, by rising stream id."""
        return tuple(self.by_id[stream_id].stats() for stream_id in sorted(self.by_id))

    def connect(
        self,
        sctp: SctpAssociation,
        driver: SctpDriver,
        *,
        max_message_size: int,
        send_limit: int,
    ) -> None:
        """Say what carries the messages, once the association is started.

        Args:
            sctp: the machine.
            driver: what runs it.
            max_message_size: bytes the peer accepts in one message, 0 for any size.
            send_limit: bytes the association queues over all channels.
        """
        self._sctp, self._driver = sctp, driver
        self._max_message_size, self._limit = max_message_size, send_limit
        for channel in self.by_id.values():
            channel.limit(max_message_size, send_limit)

    def open(self, parameters: ChannelParameters) -> DataChannel:
        """Make a channel.

        Args:
            parameters: of the channel.

        Raises:
            LocalProtocolError: the id is taken or out of range, there are too many channels, or
                a parameter is none or excludes another.
        """
        check_channel_parameters(parameters)
        opening = None if parameters.is_negotiated else encode_open(parameters)
        stream_id = parameters.stream_id
        if stream_id is None:
            stream_id = self._free_id()
        if opening is not None:
            self.dcep.check(stream_id)
            if stream_id in self._resetting or stream_id in self._early:
                raise LocalProtocolError(f"stream {stream_id} is being reset", source="RFC 8832 6")
        channel = self._make(stream_id, parameters)
        if opening is not None:
            self.dcep.expect(channel, opening)
        if self._is_established:
            self._work(channel)
        return channel

    # --- what DCEP asks for -----------------------------------------------------------------------
    def adopt(self, stream_id: int, parameters: ChannelParameters) -> DataChannel:
        """Make the channel that the peer opened, ready for use.

        Raises:
            LocalProtocolError: the id is out of range, or there are too many channels.
        """
        early = self._early.get(stream_id)
        if early is not None and early.is_reset:
            self._drop_early(stream_id)  # of an earlier use of the stream
        channel = self._make(stream_id, parameters)
        self._work(channel)
        return channel

    def send_control(self, channel: DataChannel, data: bytes) -> None:
        """Send a DCEP message, ordered and reliable whatever the channel is (RFC 8832 6)."""
        sctp, driver = self._sctp, self._driver
        if sctp is None or driver is None:
            return
        try:
            sctp.send(
                channel.stream_id,
                PPID_DCEP,
                data,
                priority=max(1, channel.priority),
                now=driver.now(),
            )
        except ProtocolError as exc:
            channel.refused(ChannelClosed(f"the channel cannot be opened: {exc}"))
            return
        driver.request_flush()

    def refuse_stream(self, stream_id: int) -> None:
        """Reset a stream that belongs to no channel."""
        self._drop_early(stream_id)
        self._known.add(stream_id)
        self._answer_reset(stream_id)

    def acknowledged(self, channel: DataChannel) -> None:
        """From now on messages may leave without order, where the channel is so."""
        channel.resubmit(self._submit(channel))

    # --- what channels ask for --------------------------------------------------------------------
    def queued_bytes(self, stream_id: int) -> int:
        """Bytes of a stream that were accepted and have not left yet."""
        return self._sctp.queued_bytes(stream_id) if self._sctp is not None else 0

    def is_confirmed(self) -> bool:
        """The peer has everything that was accepted, over all channels."""
        return self._sctp is None or self._sctp.is_idle

    def free_bytes(self) -> int:
        """Bytes the association takes now, over all channels."""
        queued = self._sctp.total_queued_bytes if self._sctp is not None else 0
        return self._limit - queued - self._promised

    def wake_when_low(self, channel: DataChannel) -> None:
        """Look after each batch whether the channel may go on."""
        self._blocked[channel.stream_id] = channel
        if self._driver is not None:
            self._driver.on_settled = self._wake_blocked

    def consumed(self, stream_id: int, size: int, count: int) -> None:
        """Open the receive window by what the program read."""
        if self._sctp is None or self._driver is None:
            return
        self._sctp.consumed(stream_id, size, count)
        # A little more room is news that can wait for the next packet.
        self._consumed += size + count * MESSAGE_OVERHEAD
        if self._consumed >= self._config.sctp.receive_window // WINDOW_STEPS:
            self._consumed = 0
            self._driver.request_flush()

    def reset(self, channel: DataChannel, *, is_flushed: bool) -> None:
        """Reset our direction of a channel; a channel that never worked just ends."""
        sctp, driver = self._sctp, self._driver
        stream_id = channel.stream_id
        if not self._is_established or sctp is None or driver is None:
            self.by_id.pop(stream_id, None)
            self.dcep.forget(stream_id)
            channel.end(None)
            return
        if not is_flushed:
            sctp.discard(stream_id)
        if stream_id not in self._resetting:
            self._resetting.add(stream_id)
            sctp.reset_streams((stream_id,), now=driver.now())
        driver.request_flush()

    # --- what the association tells ---------------------------------------------------------------
    def established(self, streams: int) -> None:
        """The association is up.

        Args:
            streams: ids below this are usable in both directions.
        """
        self._is_established = True
        self._streams = streams
        for channel in list(self.by_id.values()):
            if channel.stream_id >= streams:
                del self.by_id[channel.stream_id]
                channel.end(
                    RemoteProtocolError(
                        f"the peer takes {streams} streams, stream {channel.stream_id} is beyond",
                        source="RFC 8831 6.2",
                    )
                )
                continue
            self._work(channel)

    def early_message(self, stream_id: int, ppid: int, data: bytes) -> None:
        """Keep a message on a stream that has no channel here yet, or see it opened by DCEP."""
        size = len(data)
        if ppid == PPID_DCEP:
            self.consumed(stream_id, size, 1)
            self.dcep.received(stream_id, data)
            return
        early = self._early.get(stream_id)
        is_full = early is None and len(self._early) >= MAX_EARLY_STREAMS
        if is_full or self._early_bytes + size > MAX_EARLY_BYTES:
            self.early_dropped += 1
            self.consumed(stream_id, size, 1)
            self._answer_reset(stream_id)
            return
        if early is None:
            early = self._early[stream_id] = _EarlyStream()
        early.messages.append((ppid, data))
        self._early_bytes += size

    def streams_reset(self, stream_ids: tuple[int, ...]) -> None:
        """The peer closed its direction of these streams, ``()`` for all."""
        for stream_id in stream_ids or tuple(self.by_id):
            channel = self.by_id.get(stream_id)
            if channel is not None:
                self.dcep.was_refused(channel)
                channel.remote_reset()
                self._forget_if_done(channel)
            elif stream_id in self._early or (
                stream_id not in self._known and len(self._early) < MAX_EARLY_STREAMS
            ):
                self._early.setdefault(stream_id, _EarlyStream()).is_reset = True

    def reset_done(self, stream_ids: tuple[int, ...], is_performed: bool) -> None:
        """The peer answered the reset of our direction of these streams.

        Args:
            stream_ids: as asked for.
            is_performed: ``False`` when it refused, or knows no resets; then the channels are
                closed here, and their ids stay taken.
        """
        for stream_id in stream_ids:
            self._resetting.discard(stream_id)
            channel = self.by_id.get(stream_id)
            if channel is not None and is_performed:
                channel.local_reset_done()
                self._forget_if_done(channel)
            elif channel is not None:
                channel.end(None)

    def message_refused(self, stream_id: int, size: int) -> None:
        """The peer sent more than we announced; SCTP resets the stream (limit D9)."""
        channel = self.by_id.get(stream_id)
        if channel is not None:
            self._resetting.add(stream_id)
            channel.end(
                RemoteProtocolError(
                    f"stream {stream_id}: a message of {size} bytes or more, "
                    "larger than our max-message-size",
                    source="RFC 8841 6",
                )
            )

    def begin_closing(self) -> None:
        """The association is being shut down: nothing more is sent."""
        for channel in self.by_id.values():
            channel.closing()

    def end(self, error: DcsdkError | None) -> None:
        """The association is over: every channel ends and every waiter wakes."""
        channels = list(self.by_id.values())
        self.by_id.clear()
        self._early.clear()
        self._blocked.clear()
        if self._driver is not None:
            self._driver.on_settled = None
        self.dcep.close()
        for channel in channels:
            channel.end(error)
        self._sctp = self._driver = None

    # --- inside -----------------------------------------------------------------------------------
    def _make(self, stream_id: int, parameters: ChannelParameters) -> DataChannel:
        if len(self.by_id) >= self._config.max_channels:
            raise LocalProtocolError(
                f"the association has {self._config.max_channels} channels already"
            )
        if not 0 <= stream_id <= min(MAX_STREAM_ID, self._streams - 1):
            raise LocalProtocolError(f"there is no stream {stream_id}", source="RFC 8832 3")
        if stream_id in self.by_id:
            raise LocalProtocolError(f"stream {stream_id} is taken", source="RFC 8864 6.1")
        channel = DataChannel(
            self,
            parameters,
            stream_id=stream_id,
            max_queued_bytes=self._config.max_queued_bytes,
        )
        channel.limit(self._max_message_size, self._limit)
        self.by_id[stream_id] = channel
        self._known.add(stream_id)
        return channel

    def _work(self, channel: DataChannel) -> None:
        """Begin to use a channel on an association that is up."""
        self.dcep.open(channel)
        channel.opened(self._submit(channel))
        self._hand_over_early(channel)

    def _submit(self, channel: DataChannel) -> Submit:
        """Make what queues the messages of one channel: the hot path of sending."""
        sctp, driver = self._sctp, self._driver
        if sctp is None or driver is None:
            raise ChannelClosed("the association is not started")
        is_ordered = channel.is_ordered or self.dcep.is_unacknowledged(channel.stream_id)
        max_retr, max_time_ms = channel.max_retr, channel.max_time_ms
        # RFC 8831 6.4 gives priorities from 128 up; SCTP's weights begin at 1.
        priority = max(1, channel.priority)
        send, stream_id, now, queued = (
            sctp.send,
            channel.stream_id,
            driver.now,
            driver.message_queued,
        )

        def submit(ppid: int, data: bytes) -> None:
            try:
                send(
                    stream_id,
                    ppid,
                    data,
                    is_ordered=is_ordered,
                    max_retr=max_retr,
                    max_time_ms=max_time_ms,
                    priority=priority,
                    now=now(),
                )
            except MessageTooLarge:
                raise
            except ProtocolError as exc:
                raise ChannelClosed(f"the association takes no more data: {exc}") from exc
            if not driver.is_flush_due:
                queued()

        return submit

    def _free_id(self) -> int:
        role = self.role
        if role is None:
            raise LocalProtocolError(
                "a stream id can be chosen only when the DTLS role is known", source="RFC 8832 6"
            )
        for stream_id in range(0 if role == "client" else 1, self._streams, 2):
            if not any(stream_id in taken for taken in (self.by_id, self._early, self._resetting)):
                return stream_id
        raise LocalProtocolError("every stream id is taken")

    def _wake_blocked(self) -> None:
        """Share the room there is among those that wait for it, in turn.

        What one is woken for is not there for the next, so the work is for those that are woken,
        not for all that wait.
        """
        blocked, low = self._blocked, self._config.max_queued_bytes // 2
        self._promised = 0
        passed_over: list[int] = []
        for _ in range(len(blocked)):
            if self.free_bytes() <= 0 or len(passed_over) >= MAX_PASSED_OVER:
                break
            stream_id, channel = blocked.popitem(last=False)
            if channel.state is not ChannelState.OPEN:
                continue
            if self.queued_bytes(stream_id) > low:
                blocked[stream_id] = channel
            elif given := channel.room_changed():  # registers again when it still waits
                self._promised += given
            elif stream_id in blocked:
                passed_over.append(stream_id)
        for stream_id in reversed(passed_over):
            blocked.move_to_end(stream_id, last=False)
        if self._driver is not None:
            is_due = bool(self._promised)
            self._driver.on_settled = self._wake_blocked if blocked or is_due else None
            if is_due:
                self._driver.request_flush()  # they may be cancelled and send nothing

    def _hand_over_early(self, channel: DataChannel) -> None:
        early = self._early.pop(channel.stream_id, None)
        if early is None:
            return
        for ppid, data in early.messages:
            self._early_bytes -= len(data)
            channel.deliver(ppid, data)
        if early.is_reset:
            channel.remote_reset()

    def _drop_early(self, stream_id: int) -> None:
        early = self._early.pop(stream_id, None)
        for _, data in early.messages if early is not None else ():
            self._early_bytes -= len(data)
            self.consumed(stream_id, len(data), 1)

    def _answer_reset(self, stream_id: int) -> None:
        """Close a stream that belongs to no channel."""
        if stream_id in self._resetting or self._sctp is None or self._driver is None:
            return
        if len(self._resetting) >= MAX_RESETTING:
            return
        self._resetting.add(stream_id)
        self._sctp.reset_streams((stream_id,), now=self._driver.now())
        self._driver.request_flush()

    def _forget_if_done(self, channel: DataChannel) -> None:
        if channel.is_reset_both_ways:
            self.by_id.pop(channel.stream_id, None)
            self._blocked.pop(channel.stream_id, None)
            self.dcep.forget(channel.stream_id)
            channel.end(None)
