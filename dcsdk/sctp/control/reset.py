"""Stream reset (RFC 6525): how a data channel closes (RFC 8831 6.7) and its id becomes free.

One request of ours is outstanding at a time; streams that are asked for meanwhile wait. A stream is
reset only after everything queued on it was sent, and nothing is sent on it until the answer came.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from dcsdk.sctp.base.events import AssociationEvent, RawMessage, ResetDone, StreamsReset
from dcsdk.sctp.base.tsn import MASK
from dcsdk.sctp.receiving.receiver import Receiver
from dcsdk.sctp.sending.packetizer import Packetizer
from dcsdk.sctp.sending.recovery import RoundTrip
from dcsdk.sctp.wire.chunks import CauseChunk, ChunkType
from dcsdk.sctp.wire.parameters import (
    IncomingResetRequest,
    OtherRequest,
    OutgoingResetRequest,
    ReconfigParameter,
    ReconfigResponse,
    ReconfigResult,
    Tlv,
    decode_reconfig,
    iterate_tlvs,
)

MAX_STREAMS_PER_REQUEST = 256
"""Stream ids in one of our requests; more wait for the next one."""

_DONE = frozenset({ReconfigResult.NOTHING_TO_DO, ReconfigResult.PERFORMED})
_RETRY = frozenset({ReconfigResult.IN_PROGRESS, ReconfigResult.REQUEST_ALREADY_IN_PROGRESS})


class StreamResets:
    """Both directions of RE-CONFIG.

    Args:
        packetizer: our outgoing streams.
        receiver: the incoming ones.
        round_trip: for the time-out.
        local_sequence: number of our first request: our initial TSN.
        peer_sequence: number of the peer's first request: its initial TSN.
        events: where ``ResetDone`` and ``StreamsReset`` go.

    Attributes:
        timer_s: when the outstanding request is to be repeated, ``None`` for never.
        deferred: the peer's request that waits for data, ``None`` for none.
    """

    __slots__ = (
        "_asked_sequence",
        "_chunks",
        "_events",
        "_expected",
        "_last_response",
        "_next_sequence",
        "_packetizer",
        "_receiver",
        "_request",
        "_round_trip",
        "_wanted",
        "deferred",
        "timer_s",
    )

    def __init__(
        self,
        *,
        packetizer: Packetizer,
        receiver: Receiver,
        round_trip: RoundTrip,
        local_sequence: int,
        peer_sequence: int,
        events: list[AssociationEvent | RawMessage],
    ) -> None:
        self._packetizer = packetizer
        self._receiver = receiver
        self._round_trip = round_trip
        self._events = events
        self._wanted: dict[int, None] = {}  # ids in the order they were asked for
        self._next_sequence = local_sequence
        self._request: OutgoingResetRequest | None = None
        self._chunks: list[bytes] = []
        self.timer_s: float | None = None
        self._expected = peer_sequence
        self._last_response: ReconfigResponse | None = None
        self.deferred: OutgoingResetRequest | None = None
        self._asked_sequence: int | None = None  # incoming request our next request answers

    @property
    def is_busy(self) -> bool:
        """Something is asked for, or waits to be sent."""
        return bool(self._wanted or self._request or self._chunks)

    # --- ours ------------------------------------------------------------------------------------
    def want(self, stream_ids: Iterable[int]) -> None:
        """Ask for outgoing streams to be reset once their queues are empty."""
        current = frozenset(self._request.stream_ids if self._request else ())
        for stream_id in stream_ids:
            if stream_id not in current:
                self._wanted[stream_id] = None
                self._packetizer.stream(stream_id).is_closing = True

    def poll(self, now: float) -> list[bytes]:
        """Return the RE-CONFIG chunks to send now."""
        if self._wanted and self._request is None:
            self._begin(now)
        chunks, self._chunks = self._chunks, []
        return chunks

    def handle_timer(self, now: float) -> bool:
        """Repeat the request if its time is over; tell whether that happened."""
        if self.timer_s is None or now < self.timer_s or self._request is None:
            return False
        self._round_trip.back_off()
        self._send_request(now)
        return True

    def _begin(self, now: float) -> None:
        streams = self._packetizer.streams
        idle = (
            stream_id
            for stream_id in self._wanted
            if stream_id not in streams or not streams[stream_id].queue
        )
        ready = list(islice(idle, MAX_STREAMS_PER_REQUEST))
        if not ready:
            return
        for stream_id in ready:
            del self._wanted[stream_id]
        answered = self._asked_sequence
        if answered is None:
            answered = (self._expected - 1) & MASK
        self._asked_sequence = None
        self._request = OutgoingResetRequest(
            request_sequence=self._next_sequence,
            response_sequence=answered,
            last_tsn=(self._packetizer.next_tsn - 1) & MASK,
            stream_ids=tuple(ready),
        )
        self._next_sequence = (self._next_sequence + 1) & MASK
        self._send_request(now)

    def _send_request(self, now: float) -> None:
        if self._request is not None:
            self._chunks.append(_reconfig(self._request))
            self.timer_s = now + self._round_trip.timeout_s

    def _on_response(self, response: ReconfigResponse, now: float) -> None:
        request = self._request
        if request is None or response.response_sequence != request.request_sequence:
            return
        if response.result in _RETRY:
            self.timer_s = now + self._round_trip.timeout_s
            return
        self._request = self.timer_s = None
        is_performed = response.result in _DONE
        for stream_id in request.stream_ids:
            if is_performed:
                self._packetizer.forget(stream_id)  # it begins anew when it is used again
            else:
                self._packetizer.stream(stream_id).is_closing = False
        self._events.append(ResetDone(request.stream_ids, is_performed))

    # --- the peer's ------------------------------------------------------------------------------
    def receive(self, value: bytes, now: float) -> None:
        """Take a RE-CONFIG chunk.

        Raises:
            ParseError: a parameter is malformed.
        """
        parameters = [decode_reconfig(item) for item in iterate_tlvs(value)][:2]
        for parameter in parameters:
            if isinstance(parameter, ReconfigResponse):
                self._on_response(parameter, now)
            elif parameter is not None:
                self._on_request(parameter)

    def after_data(self) -> None:
        """More data came: perform a reset that waited for it (RFC 6525 5.2.2 E2)."""
        if self.deferred is not None and self._receiver.is_received(self.deferred.last_tsn):
            request, self.deferred = self.deferred, None
            self._perform(request)

    def _on_request(self, request: ReconfigParameter) -> None:
        if isinstance(request, ReconfigResponse):
            return
        sequence = request.request_sequence
        if sequence == (self._expected - 1) & MASK and self._last_response is not None:
            self._chunks.append(_reconfig(self._last_response))  # the answer was lost
        elif sequence != self._expected:
            self._chunks.append(
                _reconfig(
                    ReconfigResponse(
                        response_sequence=sequence, result=ReconfigResult.BAD_SEQUENCE_NUMBER
                    )
                )
            )
        elif isinstance(request, OtherRequest):
            self._answer(sequence, ReconfigResult.DENIED)
        elif isinstance(request, IncomingResetRequest):
            self._on_incoming(request)
        elif self._receiver.is_received(request.last_tsn):
            self.deferred = None
            self._perform(request)
        else:
            self.deferred = request
            self._chunks.append(
                _reconfig(
                    ReconfigResponse(response_sequence=sequence, result=ReconfigResult.IN_PROGRESS)
                )
            )

    def _on_incoming(self, request: IncomingResetRequest) -> None:
        """The peer asks us to reset our streams (RFC 6525 5.2.3)."""
        known = [
            stream_id for stream_id in request.stream_ids if stream_id in self._packetizer.streams
        ]
        if not known:
            self._answer(request.request_sequence, ReconfigResult.NOTHING_TO_DO)
            return
        self._asked_sequence = request.request_sequence
        self._answer(request.request_sequence, ReconfigResult.PERFORMED)
        self.want(known)

    def _perform(self, request: OutgoingResetRequest) -> None:
        self._receiver.reset_streams(request.stream_ids)
        self._events.append(StreamsReset(request.stream_ids))
        self._answer(request.request_sequence, ReconfigResult.PERFORMED)

    def _answer(self, sequence: int, result: ReconfigResult) -> None:
        self._last_response = ReconfigResponse(response_sequence=sequence, result=result)
        self._expected = (sequence + 1) & MASK
        self._chunks.append(_reconfig(self._last_response))


def _reconfig(parameter: ReconfigParameter) -> bytes:
    encoded = parameter.encode()
    size = int.from_bytes(encoded[2:4], "big")
    item = Tlv(int.from_bytes(encoded[:2], "big"), encoded[4:size])
    return CauseChunk(kind=ChunkType.RE_CONFIG, items=(item,)).encode()
