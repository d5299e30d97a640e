"""Two transaction layers over a network that loses, repeats and delays messages."""

from __future__ import annotations

import heapq
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import ParseError
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.parser import parse_message
from dcsdk.sip.transactions.transaction import (
    AckMissing,
    Cancelled,
    ClientUpdate,
    NoResponse,
    RequestArrived,
    ResponseArrived,
    ServerUpdate,
    StrayResponse,
    TransactionLayer,
)

from ..messages import answer, counting_entropy, request

Layer = TransactionLayer[str]
fates = st.lists(st.tuples(st.integers(0, 2), st.floats(0.0, 3.0)), min_size=0, max_size=60)


class World:
    """A client and a server layer; each message meets the next fate: copies and delay."""

    def __init__(self, script: list[tuple[int, float]]) -> None:
        self.layers: dict[str, Layer] = {
            name: TransactionLayer(entropy=counting_entropy(name)) for name in ("client", "server")
        }
        self.script = iter(script)
        self.wire: list[tuple[float, int, str, bytes]] = []
        self.counter = itertools.count()
        self.now = 0.0
        self.requests: list[Request] = []
        self.finals: list[int] = []
        self.failures: list[object] = []
        self.status = 200

    def flush(self) -> None:
        for name, layer in self.layers.items():
            while (item := layer.poll_transmit()) is not None:
                copies, delay = next(self.script, (1, 0.01))
                to = "server" if name == "client" else "client"
                for copy in range(copies):
                    when = self.now + delay * (copy + 1)
                    data = item[0].encode()
                    heapq.heappush(self.wire, (when, next(self.counter), to, data))
            while (event := layer.poll_event()) is not None:
                self.handle(event)
            while layer.poll_ended() is not None:
                pass

    def handle(self, event: object) -> None:
        if isinstance(event, RequestArrived) and event.transaction is not None:
            self.requests.append(event.request)
            response = answer(event.request, self.status)
            self.layers["server"].respond(event.transaction, response, now=self.now)
            self.flush()
        elif isinstance(event, ClientUpdate) and isinstance(event.event, ResponseArrived):
            if event.event.response.status >= 200:
                self.finals.append(event.event.response.status)
        elif isinstance(event, ClientUpdate | ServerUpdate):
            self.failures.append(event.event)
        else:
            assert isinstance(event, RequestArrived | StrayResponse | Cancelled)

    def run(self) -> None:
        self.flush()
        while True:
            timers = [t for layer in self.layers.values() if (t := layer.next_timer()) is not None]
            arrivals = [self.wire[0][0]] if self.wire else []
            if not timers and not arrivals:
                return
            self.now = max(self.now, min(timers + arrivals))
            assert self.now < 1000.0
            while self.wire and self.wire[0][0] <= self.now:
                _, _, to, data = heapq.heappop(self.wire)
                self.layers[to].receive(
                    parse_message(data), flow="wire", is_reliable=False, now=self.now
                )
            for layer in self.layers.values():
                layer.handle_timer(now=self.now)
            self.flush()


@pytest.mark.clause("RFC 3261 17")
@given(script=fates, method=st.sampled_from(["INVITE", "OPTIONS"]), is_refused=st.booleans())
def test_whatever_the_network_does_there_is_one_outcome_and_nothing_stays(
    script: list[tuple[int, float]], method: str, is_refused: bool
) -> None:
    world = World(script)
    world.status = 486 if is_refused else 200
    world.layers["client"].request(request(method), flow="wire", is_reliable=False, now=0.0)
    world.run()
    gave_up = [failure for failure in world.failures if isinstance(failure, NoResponse)]
    assert len(gave_up) + min(len(world.finals), 1) == 1
    if method != "INVITE" or is_refused:
        assert len(world.finals) <= 1
    assert all(isinstance(failure, NoResponse | AckMissing) for failure in world.failures)
    assert all(len(layer) == 0 for layer in world.layers.values())


@pytest.mark.clause("RFC 3261 17.2.3")
def test_a_network_that_loses_half_still_delivers_once() -> None:
    world = World([(number % 2, 0.01) for number in range(20)])
    world.status = 486
    world.layers["client"].request(request(), flow="wire", is_reliable=False, now=0.0)
    world.run()
    assert world.finals == [486] and len(world.requests) == 1 and world.failures == []


@given(
    messages=st.lists(
        st.tuples(
            st.sampled_from(["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "200", "180", "487"]),
            st.sampled_from(["z9hG4bKa", "z9hG4bKb", "old"]),
            st.sampled_from([None, "bob"]),
            st.integers(1, 3),
        ),
        max_size=40,
    ),
    answers=st.lists(st.sampled_from([100, 180, 200, 404, 487]), max_size=10),
)
def test_no_sequence_of_messages_breaks_a_layer(
    messages: list[tuple[str, str, str | None, int]], answers: list[int]
) -> None:
    layer: Layer = TransactionLayer(
        entropy=counting_entropy(), detects_merged=True, max_transactions=4
    )
    statuses = iter(answers)
    now = 0.0
    for kind, branch, tag, cseq in messages:
        now += 0.7
        message: Request | Response
        if kind.isdigit():
            message = answer(request(branch=branch, cseq=cseq), int(kind))
        else:
            message = request(kind, branch=branch, to_tag=tag, cseq=cseq)
        layer.receive(message, flow="a", is_reliable=cseq == 3, now=now)
        layer.handle_timer(now=now)
        while (event := layer.poll_event()) is not None:
            if isinstance(event, RequestArrived) and event.transaction is not None:
                status = next(statuses, None)
                if status is not None:
                    response = answer(event.request, status)
                    layer.respond(event.transaction, response, now=now)
        assert len(layer) <= 4
    while (deadline := layer.next_timer()) is not None:
        layer.handle_timer(now=deadline)
    assert len(layer) == 0


@given(data=st.binary(max_size=300))
def test_any_bytes_that_parse_are_survived(data: bytes) -> None:
    text = b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bKx\r\n" + data
    layer: Layer = TransactionLayer(entropy=counting_entropy())
    try:
        message = parse_message(text)
    except ParseError:
        return
    layer.receive(message, flow="a", is_reliable=False, now=0.0)
