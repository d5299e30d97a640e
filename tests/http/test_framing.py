"""HTTP framing machines: ims-data-channel rules for HTTP/1.1 on one ordered byte stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import (
    ConfigError,
    LocalProtocolError,
    OperationTimeout,
    RemoteProtocolError,
)
from dcsdk.http import (
    APPLICATION_LIMITS,
    BodyReceived,
    HttpClientFraming,
    HttpLimits,
    HttpServerFraming,
    MessageEnded,
    RequestReceived,
    ResponseReceived,
)
from dcsdk.http.limits import MAX_PIECE_BYTES, piece_size

HOST = [(b"Host", b"localhost")]
SMALL = HttpLimits(header_bytes=200, body_bytes=100, idle_s=30, total_s=120)


def drain(machine: HttpClientFraming | HttpServerFraming) -> list[bytes]:
    return list(iter(machine.poll_transmit, None))


def events(machine: HttpClientFraming | HttpServerFraming) -> list[object]:
    return list(iter(machine.poll_event, None))


def body_of(items: list[object]) -> bytes:
    return b"".join(item.data for item in items if isinstance(item, BodyReceived))


def asking_client(
    method: str = "GET", limits: HttpLimits = SMALL, max_message_size: int = 65_536
) -> HttpClientFraming:
    client = HttpClientFraming(limits=limits, max_message_size=max_message_size)
    client.start_request(method, "/", HOST, now=0)
    client.end_request(now=0)
    drain(client)
    return client


@pytest.mark.clause("TS 26.114 6.2.10.1")
def test_a_request_and_its_response_cross_the_channel() -> None:
    client, server = HttpClientFraming(), HttpServerFraming()
    client.start_request("POST", "/x?y=1", [*HOST, (b"Content-Length", b"5")], now=0)
    client.send_body(b"hello", now=0)
    client.end_request(now=0)
    for message in drain(client):
        server.receive(message, now=0)
    request, *rest = events(server)
    assert isinstance(request, RequestReceived)
    assert (request.method, request.target) == ("POST", "/x?y=1")
    assert body_of(rest) == b"hello"
    assert rest[-1] == MessageEnded()
    server.start_response(200, [(b"Content-Type", b"text/plain")], now=0)
    server.send_body(b"wor", now=0)
    server.send_body(b"ld", now=0)
    server.end_response(now=0)
    for message in drain(server):
        client.receive(message, now=0)
    response, *rest = events(client)
    assert isinstance(response, ResponseReceived)
    assert response.status == 200
    assert (b"transfer-encoding", b"chunked") in response.headers
    assert body_of(rest) == b"world"
    assert client.is_idle
    server.start_next(now=0)
    assert server.is_between_requests
    assert client.next_timer() is None and server.next_timer() is None


@given(cuts=st.lists(st.integers(1, 120), max_size=12))
def test_message_borders_mean_nothing(cuts: list[int]) -> None:
    wire = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    )
    client = asking_client()
    for cut in cuts:
        client.receive(wire[:cut], now=0)
        wire = wire[cut:]
        if not wire:
            break
    if wire:
        client.receive(wire, now=0)
    items = events(client)
    assert isinstance(items[0], ResponseReceived)
    assert body_of(items) == b"hello world"
    assert items[-1] == MessageEnded()


@pytest.mark.parametrize(
    ("peer_accepts", "largest"), [(0, 16_384), (262_144, 16_384), (1024, 1024), (10, 10)]
)
def test_a_sender_never_exceeds_the_smaller_of_peer_size_and_16_kib(
    peer_accepts: int, largest: int
) -> None:
    assert piece_size(peer_accepts) == largest <= MAX_PIECE_BYTES
    server = HttpServerFraming(max_message_size=peer_accepts)
    server.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", now=0)
    server.start_response(200, [(b"x", b"y" * 100)], now=0)
    server.send_body(b"z" * 40_000, now=0)
    server.end_response(now=0)
    messages = drain(server)
    assert max(map(len, messages)) <= largest
    client = asking_client(limits=HttpLimits())
    for message in messages:
        client.receive(message, now=0)
    assert body_of(events(client)) == b"z" * 40_000


def test_connection_close_is_no_op() -> None:
    client, server = HttpClientFraming(), HttpServerFraming()
    for _ in range(3):
        client.start_request("GET", "/", [*HOST, (b"Connection", b"close")], now=0)
        client.end_request(now=0)
        for message in drain(client):
            server.receive(message, now=0)
        assert isinstance(events(server)[0], RequestReceived)
        server.start_response(200, [(b"Content-Length", b"2"), (b"Connection", b"close")], now=0)
        server.send_body(b"ok", now=0)
        server.end_response(now=0)
        server.start_next(now=0)
        for message in drain(server):
            client.receive(message, now=0)
        assert body_of(events(client)) == b"ok"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /x?y HTTP/1.1\r\n\r\n",
        b"GET http://anything.example/a HTTP/1.1\r\nHost: other\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nAccept: */*\r\n\r\n",
    ],
)
def test_odd_targets_and_a_missing_host_are_tolerated(head: bytes) -> None:
    server = HttpServerFraming()
    server.receive(head, now=0)
    request = events(server)[0]
    assert isinstance(request, RequestReceived)
    assert any(name == b"host" for name, _ in request.headers)


def test_empty_lines_between_requests_start_no_clock() -> None:
    server = HttpServerFraming()
    server.receive(b"\r\n", now=0)
    assert server.next_timer() is None
    server.receive(b"GET", now=5)
    assert server.next_timer() == 35


@pytest.mark.clause("D8")
@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\n\r\nunbounded",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200 + b"\r\n\r\n",
        b"\x16\xfe\xfd nonsense\r\n\r\n",
    ],
)
def test_bad_responses_and_responses_over_a_limit_are_typed_errors(wire: bytes) -> None:
    client = asking_client()
    with pytest.raises(RemoteProtocolError):
        client.receive(wire, now=0)
    with pytest.raises(RemoteProtocolError):
        client.receive(b"x", now=0)


@pytest.mark.clause("D8")
@pytest.mark.parametrize(
    "wire",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 300 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n" + b"GET / HTTP/1.1\r\n" * 20,
        b"\r\n\r\n\r\n\r\n",
        b"\x00\x01\r\n\r\n",
    ],
)
def test_bad_requests_and_requests_over_a_limit_are_typed_errors(wire: bytes) -> None:
    server = HttpServerFraming(limits=SMALL)
    with pytest.raises(RemoteProtocolError):
        server.receive(wire, now=0)
        server.receive(b"x", now=0)


def test_an_error_ends_the_servers_machine() -> None:
    server = HttpServerFraming()
    with pytest.raises(RemoteProtocolError):
        server.receive(b"GET / HTTP/1.0\r\n\r\n", now=0)
    with pytest.raises(RemoteProtocolError):
        server.receive(b"GET / HTTP/1.1\r\n\r\n", now=0)


def test_an_application_channel_has_no_body_limit() -> None:
    client = asking_client(limits=APPLICATION_LIMITS)
    client.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", now=0)
    assert isinstance(events(client)[0], ResponseReceived)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_responses_without_body_end_at_their_head(method: str, status: int) -> None:
    client, server = HttpClientFraming(), HttpServerFraming()
    client.start_request(method, "/", HOST, now=0)
    client.end_request(now=0)
    for message in drain(client):
        server.receive(message, now=0)
    server.start_response(status, [(b"Content-Length", b"7")] if status == 200 else [], now=0)
    server.send_body(b"ignored", now=0)
    server.end_response(now=0)
    for message in drain(server):
        client.receive(message, now=0)
    items = events(client)
    assert isinstance(items[0], ResponseReceived) and items[0].status == status
    assert items[1:] == [MessageEnded()]


def test_one_request_is_outstanding_at_a_time() -> None:
    client = asking_client()
    with pytest.raises(LocalProtocolError):
        client.start_request("GET", "/", HOST, now=0)


def test_an_early_request_waits_for_its_turn() -> None:
    server = HttpServerFraming()
    server.receive(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", now=0)
    assert [type(item) for item in events(server)] == [RequestReceived, MessageEnded]
    with pytest.raises(LocalProtocolError):
        server.start_next(now=0)
    server.start_response(204, [], now=0)
    server.end_response(now=0)
    server.start_next(now=0)
    second = events(server)[0]
    assert isinstance(second, RequestReceived) and second.target == "/2"


def test_a_waiting_client_is_told_to_continue_once() -> None:
    server = HttpServerFraming()
    server.receive(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", now=0)
    request = events(server)[0]
    assert isinstance(request, RequestReceived) and request.expects_continue
    server.send_continue(now=0)
    server.send_continue(now=0)
    assert drain(server) == [b"HTTP/1.1 100 \r\n\r\n"]


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("CONNECT", "a:1", HOST),
        ("GET", "/ b", HOST),
        ("GET", "/", [*HOST, (b"X", b"a\r\nb")]),
        ("GET", "/", []),
    ],
)
def test_a_request_that_cannot_be_sent_is_the_programs_error(
    method: str, target: str, headers: list[tuple[bytes, bytes]]
) -> None:
    client = HttpClientFraming()
    with pytest.raises(LocalProtocolError):
        client.start_request(method, target, headers, now=0)
    assert client.is_idle and client.poll_transmit() is None


def test_a_body_must_have_the_length_its_header_says() -> None:
    client = HttpClientFraming()
    client.start_request("PUT", "/", [*HOST, (b"Content-Length", b"2")], now=0)
    with pytest.raises(LocalProtocolError):
        client.send_body(b"too long", now=0)
    client = HttpClientFraming()
    client.start_request("PUT", "/", [*HOST, (b"Content-Length", b"2")], now=0)
    with pytest.raises(LocalProtocolError):
        client.end_request(now=0)


def test_responses_out_of_turn_are_the_programs_error() -> None:
    server = HttpServerFraming()
    for misuse in (
        lambda: server.start_response(200, [], now=0),
        lambda: server.send_body(b"x", now=0),
        lambda: server.end_response(now=0),
    ):
        with pytest.raises(LocalProtocolError):
            misuse()
    server.receive(b"GET / HTTP/1.1\r\n\r\n", now=0)
    with pytest.raises(LocalProtocolError):
        server.start_response(100, [], now=0)


@pytest.mark.clause("D8")
def test_a_silent_peer_is_given_up_after_the_idle_bound() -> None:
    client = asking_client(limits=HttpLimits(idle_s=30, total_s=120))
    assert client.next_timer() == 30
    client.handle_timer(now=29.9)
    client.receive(b"HTTP/1.1 200", now=20)
    assert client.next_timer() == 50
    with pytest.raises(OperationTimeout, match="silent"):
        client.handle_timer(now=50)


@pytest.mark.clause("D8")
def test_a_slow_exchange_is_given_up_after_the_total_bound() -> None:
    client = asking_client(limits=HttpLimits(idle_s=30, total_s=120))
    for now in range(0, 120, 10):
        client.touch(now=now)
    assert client.next_timer() == 120
    with pytest.raises(OperationTimeout, match="120"):
        client.handle_timer(now=120)
    server = HttpServerFraming()
    server.receive(b"G", now=7)
    assert server.next_timer() == 37
    server.touch(now=8)
    with pytest.raises(OperationTimeout):
        server.handle_timer(now=38)


def test_limits_that_cannot_work_are_refused() -> None:
    for values in ({"header_bytes": 1}, {"body_bytes": -1}, {"idle_s": 0}, {"total_s": 0}):
        with pytest.raises(ConfigError):
            HttpLimits(**values)  # type: ignore[arg-type]


def test_empty_messages_add_nothing() -> None:
    client, server = asking_client(), HttpServerFraming()
    client.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", now=0)
    server.receive(b"PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r\n", now=0)
    for machine in (client, server):
        machine.receive(b"", now=0)
        machine.receive(b"ok", now=0)
        assert body_of(events(machine)) == b"ok"


def test_bytes_nobody_asked_for_are_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        HttpClientFraming().receive(b"HTTP/1.1 200 OK\r\n\r\n", now=0)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_any_bytes_give_events_or_a_typed_error(parts: list[bytes]) -> None:
    for machine in (asking_client(), HttpServerFraming(limits=SMALL)):
        try:
            for part in parts:
                machine.receive(part, now=0)
        except RemoteProtocolError:
            pass


_FRAGMENTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"Host: a\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Upgrade: x\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"abc",
        b" folded\r\n",
    ]
)


@given(st.lists(_FRAGMENTS, max_size=12))
def test_almost_http_gives_events_or_a_typed_error(parts: list[bytes]) -> None:
    for machine in (asking_client(), HttpServerFraming(limits=SMALL)):
        try:
            for part in parts:
                machine.receive(part, now=0)
        except RemoteProtocolError:
            pass


@given(body=st.binary(max_size=2000), sizes=st.integers(1, 500), is_chunked=st.booleans())
def test_bodies_round_trip(body: bytes, sizes: int, is_chunked: bool) -> None:
    server = HttpServerFraming(max_message_size=sizes)
    server.receive(b"GET / HTTP/1.1\r\n\r\n", now=0)
    headers = [] if is_chunked else [(b"Content-Length", b"%d" % len(body))]
    server.start_response(200, headers, now=0)
    server.send_body(body, now=0)
    server.end_response(now=0)
    client = asking_client(limits=HttpLimits())
    for message in drain(server):
        client.receive(message, now=0)
    assert body_of(events(client)) == body
