"""SIP endpoints on loopback sockets, with timers short enough that nothing has to be slept for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Literal

import pytest

from dcsdk.errors import (
    ChannelClosed,
    LocalProtocolError,
    OperationTimeout,
    RemoteProtocolError,
    TransportError,
)
from dcsdk.io.sip.endpoint import IncomingRequest, SipEndpoint, contact_uri
from dcsdk.io.sip.flow import Flow
from dcsdk.io.sip.proxy import relay
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.transactions.timers import SipTimers
from tests.sip.messages import answer, request

FAST = SipTimers(t1_s=0.005, t2_s=0.02, t4_s=0.01, trying_s=0.005, timer_c_s=5.0)
Handler = Callable[[IncomingRequest], Awaitable[None]]
Name = Literal["udp", "tcp"]


async def nothing(_: IncomingRequest) -> None:
    """Leave the request unanswered."""


def message(method: str = "OPTIONS", **options: object) -> Request:
    """A request without Via, as a transaction user makes it."""
    made = request(method, **options)  # type: ignore[arg-type]
    made.headers.remove("Via")
    return made


class Pair:
    """A client endpoint with a flow to a server endpoint."""

    def __init__(self, client: SipEndpoint, server: SipEndpoint, flow: Flow) -> None:
        self.client, self.server, self.flow = client, server, flow


@pytest.fixture
async def stack() -> object:
    async with AsyncExitStack() as exit_stack:
        yield exit_stack


async def pair(
    stack: AsyncExitStack,
    handler: Handler,
    transport: Name = "udp",
    *,
    timers: SipTimers = FAST,
    on_request: Handler = nothing,
    **options: object,
) -> Pair:
    server = await stack.enter_async_context(SipEndpoint(on_request=handler, timers=timers))
    client = await stack.enter_async_context(
        SipEndpoint(on_request=on_request, timers=timers, **options)  # type: ignore[arg-type]
    )
    host, port = await server.listen(transport, "127.0.0.1")
    return Pair(client, server, await client.connect(transport, host, port))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_request_is_answered_over_the_flow_it_came_on(
    stack: AsyncExitStack, transport: Name
) -> None:
    seen: list[IncomingRequest] = []

    async def handler(incoming: IncomingRequest) -> None:
        seen.append(incoming)
        incoming.reply(100)
        incoming.reply(200, headers=[("Server", "test")])

    link = await pair(stack, handler, transport)
    transaction = link.client.send(message(), link.flow)
    assert [response.status async for response in transaction] == [100, 200]
    assert (await transaction.final()).headers.get("Server") == "test"
    via = seen[0].request.top_via
    assert via.transport == transport.upper() and via.branch == transaction.request.top_via.branch
    assert (via.received, via.rport) == (link.flow.local[0], link.flow.local[1])
    assert (await transaction.final()).to.tag == seen[0].local_tag


@pytest.mark.clause("RFC 3261 18.2.1", "RFC 3581 4")
async def test_ipv6_works_too(stack: AsyncExitStack) -> None:
    async def handler(incoming: IncomingRequest) -> None:
        incoming.reply(200)

    server = await stack.enter_async_context(SipEndpoint(on_request=handler, timers=FAST))
    client = await stack.enter_async_context(SipEndpoint(on_request=nothing, timers=FAST))
    host, port = await server.listen("udp", "::1")
    flow = await client.connect("udp", host, port)
    assert (await client.send(message(), flow).final()).status == 200
    assert str(contact_uri(flow, "alice")) == f"sip:alice@[::1]:{flow.local[1]}"


@pytest.mark.clause("RFC 3261 17.1.2.2")
async def test_nobody_answers_and_timer_f_ends_the_wait(stack: AsyncExitStack) -> None:
    link = await pair(stack, nothing)
    transaction = link.client.send(message(), link.flow)
    with pytest.raises(OperationTimeout, match="timer F"):
        await transaction.final()
    with pytest.raises(OperationTimeout):
        await anext(transaction)
    assert transaction.is_done


@pytest.mark.clause("RFC 3261 17.1.1.2")
async def test_nobody_answers_an_invite_and_timer_b_ends_the_wait(stack: AsyncExitStack) -> None:
    silent = SipTimers(t1_s=0.005, t2_s=0.02, t4_s=0.01, trying_s=60.0)
    link = await pair(stack, nothing, timers=silent)
    with pytest.raises(OperationTimeout, match="timer B"):
        await link.client.send(message("INVITE"), link.flow).final()


@pytest.mark.clause("RFC 3261 13.3.1.4")
async def test_a_2xx_is_repeated_until_its_ack_comes(stack: AsyncExitStack) -> None:
    acked: asyncio.Future[Request] = asyncio.get_running_loop().create_future()

    async def handler(incoming: IncomingRequest) -> None:
        ok = incoming.request.response(200, to_tag=incoming.local_tag)
        acked.set_result(await incoming.respond_until_acked(ok))

    link = await pair(stack, handler, "tcp")
    successes: list[Response] = []
    third = asyncio.Event()

    def success(response: Response) -> None:
        if not response.is_success:
            return
        successes.append(response)
        if len(successes) == 3:
            third.set()

    transaction = link.client.send(message("INVITE"), link.flow, on_response=success)
    final = await transaction.final()
    await third.wait()
    ack = message("ACK", to_tag=final.to.tag)
    link.client.send_ack(ack, link.flow)
    assert (await acked).method == "ACK"
    assert all(response.to.tag == final.to.tag for response in successes)


@pytest.mark.clause("RFC 3261 13.3.1.4")
async def test_a_2xx_without_ack_times_out(stack: AsyncExitStack) -> None:
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handler(incoming: IncomingRequest) -> None:
        try:
            await incoming.respond_until_acked(answer(incoming.request, 200))
        except OperationTimeout as exc:
            outcome.set_result(str(exc))

    link = await pair(stack, handler)
    await link.client.send(message("INVITE"), link.flow).final()
    assert "no ACK" in await outcome


@pytest.mark.clause("RFC 3261 9")
async def test_cancel_reaches_the_handler_and_487_comes_back(stack: AsyncExitStack) -> None:
    async def handler(incoming: IncomingRequest) -> None:
        incoming.reply(180)
        await incoming.cancelled.wait()
        incoming.reply(487)
        incoming.when_cancelled(lambda: None)

    link = await pair(stack, handler)
    transaction = link.client.send(message("INVITE"), link.flow)
    transaction.cancel()
    assert [r.status async for r in transaction][-1] == 487


async def test_the_ack_of_a_forwarded_2xx_is_a_request_that_nobody_answers(
    stack: AsyncExitStack,
) -> None:
    acks: asyncio.Queue[IncomingRequest] = asyncio.Queue()

    async def handler(incoming: IncomingRequest) -> None:
        if incoming.request.method == "ACK":
            acks.put_nowait(incoming)
        else:
            incoming.respond(answer(incoming.request, 200))

    link = await pair(stack, handler)
    await link.client.send(message("INVITE"), link.flow).final()
    link.client.forward(message("ACK", to_tag="bob"), link.flow)
    ack = await acks.get()
    assert ack.is_answered
    with pytest.raises(LocalProtocolError):
        ack.reply(200)
    with pytest.raises(LocalProtocolError):
        await ack.respond_until_acked(answer(ack.request, 200))


async def test_a_stray_response_goes_to_who_wants_it(stack: AsyncExitStack) -> None:
    strays: asyncio.Queue[Response] = asyncio.Queue()
    flows: asyncio.Queue[Flow] = asyncio.Queue()

    async def handler(incoming: IncomingRequest) -> None:
        flows.put_nowait(incoming.flow)
        incoming.reply(200)

    link = await pair(
        stack, handler, on_stray_response=lambda response, flow: strays.put_nowait(response)
    )
    await link.client.send(message(), link.flow).final()
    link.server.forward(answer(request(branch="z9hG4bKnobody"), 200), await flows.get())
    assert (await strays.get()).status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RemoteProtocolError("no", sip_status_hint=482), 482),
        (RemoteProtocolError("no"), 400),
        (ValueError("our bug"), 500),
    ],
)
async def test_what_a_handler_raises_becomes_a_status(
    stack: AsyncExitStack, error: Exception, status: int
) -> None:
    async def handler(incoming: IncomingRequest) -> None:
        raise error

    link = await pair(stack, handler)
    assert (await link.client.send(message(), link.flow).final()).status == status


async def test_a_handler_that_fails_after_its_answer_changes_nothing(
    stack: AsyncExitStack,
) -> None:
    async def handler(incoming: IncomingRequest) -> None:
        incoming.reply(200)
        with pytest.raises(LocalProtocolError):
            incoming.reply(200)
        if incoming.request.method == "OPTIONS":
            raise ValueError("our bug")
        raise RemoteProtocolError("their bug")

    link = await pair(stack, handler)
    for method in ("OPTIONS", "INFO"):
        assert (await link.client.send(message(method), link.flow).final()).status == 200


@pytest.mark.clause("RFC 3261 17.1.4")
async def test_a_closed_connection_fails_what_waits_on_it(stack: AsyncExitStack) -> None:
    flows: asyncio.Queue[IncomingRequest] = asyncio.Queue()
    closed: asyncio.Queue[Flow] = asyncio.Queue()

    async def handler(incoming: IncomingRequest) -> None:
        flows.put_nowait(incoming)

    link = await pair(
        stack, handler, "tcp", on_flow_closed=lambda flow, error: closed.put_nowait(flow)
    )
    transaction = link.client.send(message("INVITE"), link.flow)
    incoming = await flows.get()
    incoming.flow.close()
    with pytest.raises(TransportError):
        await transaction.final()
    assert await closed.get() == link.flow
    await incoming.cancelled.wait()
    with pytest.raises(TransportError):
        await incoming.respond_until_acked(answer(incoming.request, 200))
    late = link.client.send(message(), link.flow)
    with pytest.raises(TransportError):
        await late.final()
    link.client.send_ack(message("ACK"), link.flow)


async def test_closing_wakes_who_waits(stack: AsyncExitStack) -> None:
    link = await pair(stack, nothing)
    transaction = link.client.send(message("INVITE"), link.flow)
    waiter = asyncio.ensure_future(transaction.final())
    await link.client.aclose()
    await link.client.aclose()
    with pytest.raises(ChannelClosed):
        await waiter
    with pytest.raises(ChannelClosed):
        link.client.send(message(), link.flow)


async def test_closing_wakes_who_waits_for_an_ack(stack: AsyncExitStack) -> None:
    error: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    answered = asyncio.Event()

    async def handler(incoming: IncomingRequest) -> None:
        answered.set()
        try:
            await incoming.respond_until_acked(answer(incoming.request, 200))
        except ChannelClosed as exc:
            error.set_result(exc)
            raise

    link = await pair(stack, handler, timers=SipTimers())
    await link.client.send(message("INVITE"), link.flow).final()
    await link.server.aclose()
    assert error.done() or answered.is_set()


async def test_a_malformed_request_is_answered_400(stack: AsyncExitStack) -> None:
    answers: asyncio.Queue[Response] = asyncio.Queue()
    link = await pair(
        stack, nothing, on_stray_response=lambda response, _: answers.put_nowait(response)
    )
    line = b"Max-Forwards: 70\r\n"
    bad = request("OPTIONS").encode().replace(line, line + line)
    link.flow.send(bad)
    link.flow.send(b"nonsense\r\n\r\n")
    assert (await answers.get()).status == 400


async def test_a_provisional_flood_is_bounded(stack: AsyncExitStack) -> None:
    async def handler(incoming: IncomingRequest) -> None:
        for _ in range(200):
            incoming.reply(180)
        incoming.reply(486)

    link = await pair(stack, handler, "tcp")
    transaction = link.client.send(message("INVITE"), link.flow)
    assert (await transaction.final()).status == 486
    assert len([r async for r in transaction]) <= 65


# --- a proxy between two user agents --------------------------------------------------------------
class Chain:
    """A client, a proxy that relays everything, and a server behind it."""

    def __init__(self, client: SipEndpoint, flow: Flow, proxy: SipEndpoint) -> None:
        self.client, self.flow, self.proxy = client, flow, proxy


async def chain(stack: AsyncExitStack, handler: Handler) -> Chain:
    behind: list[Flow] = []

    async def forward(incoming: IncomingRequest) -> None:
        if incoming.request.method == "ACK":
            proxy.forward(incoming.request, behind[0])
            return
        await relay(proxy, incoming, incoming.request, behind[0])

    server = await stack.enter_async_context(SipEndpoint(on_request=handler, timers=FAST))
    proxy = await stack.enter_async_context(SipEndpoint(on_request=forward, timers=FAST))
    client = await stack.enter_async_context(SipEndpoint(on_request=nothing, timers=FAST))
    behind.append(await proxy.connect("tcp", *await server.listen("tcp", "127.0.0.1")))
    flow = await client.connect("tcp", *await proxy.listen("tcp", "127.0.0.1"))
    return Chain(client, flow, proxy)


@pytest.mark.clause("RFC 3261 16.6", "RFC 3261 16.7")
async def test_a_call_goes_through_a_proxy_and_its_ack_too(stack: AsyncExitStack) -> None:
    acked: asyncio.Future[Request] = asyncio.get_running_loop().create_future()

    async def handler(incoming: IncomingRequest) -> None:
        assert len(incoming.request.vias) == 2
        incoming.reply(180)
        ok = incoming.request.response(200, to_tag=incoming.local_tag)
        acked.set_result(await incoming.respond_until_acked(ok))

    link = await chain(stack, handler)
    transaction = link.client.send(message("INVITE"), link.flow)
    responses = [response async for response in transaction]
    assert [r.status for r in responses if r.status != 100] == [180, 200]
    assert all(len(response.vias) == 1 for response in responses)
    link.client.send_ack(message("ACK", to_tag=responses[-1].to.tag), link.flow)
    assert len((await acked).vias) == 2


@pytest.mark.clause("RFC 3261 16.10")
async def test_a_cancel_goes_through_a_proxy(stack: AsyncExitStack) -> None:
    async def handler(incoming: IncomingRequest) -> None:
        incoming.reply(180)
        await incoming.cancelled.wait()
        incoming.reply(487)

    link = await chain(stack, handler)
    transaction = link.client.send(message("INVITE"), link.flow)
    async for response in transaction:
        if response.status == 180:
            transaction.cancel()
    assert (await transaction.final()).status == 487


@pytest.mark.clause("RFC 3261 16.7")
async def test_every_2xx_of_a_fork_passes_a_proxy(stack: AsyncExitStack) -> None:
    async def handler(incoming: IncomingRequest) -> None:
        if incoming.request.method == "INVITE":
            incoming.respond(answer(incoming.request, 200, tag="one"))
            incoming.respond(answer(incoming.request, 200, tag="two"))

    link = await chain(stack, handler)
    tags: asyncio.Queue[str | None] = asyncio.Queue()
    link.client.send(
        message("INVITE"),
        link.flow,
        on_response=lambda r: r.is_success and tags.put_nowait(r.to.tag),
    )
    assert [await tags.get(), await tags.get()] == ["one", "two"]


@pytest.mark.clause("RFC 3261 16.8", "RFC 3261 16.9")
async def test_a_proxy_answers_408_and_500_for_a_next_hop_that_does_not(
    stack: AsyncExitStack,
) -> None:
    link = await chain(stack, nothing)
    slow = link.client.send(message(), link.flow)
    with pytest.raises(OperationTimeout):
        await slow.final()  # its own timer F runs as long as the proxy's
    gone: list[Flow] = []

    async def forward(incoming: IncomingRequest) -> None:
        await relay(proxy, incoming, incoming.request, gone[0])

    proxy = await stack.enter_async_context(SipEndpoint(on_request=forward, timers=FAST))
    other = await stack.enter_async_context(SipEndpoint(on_request=nothing, timers=FAST))
    gone.append(await proxy.connect("tcp", *await other.listen("tcp", "127.0.0.1")))
    flow = await link.client.connect("tcp", *await proxy.listen("tcp", "127.0.0.1"))
    await other.aclose()
    assert (await link.client.send(message(), flow).final()).status == 500


async def test_an_ack_is_not_relayed(stack: AsyncExitStack) -> None:
    link = await chain(stack, nothing)
    incoming = IncomingRequest(link.proxy, message("ACK"), link.flow, None)
    with pytest.raises(LocalProtocolError):
        await relay(link.proxy, incoming, incoming.request, link.flow)
