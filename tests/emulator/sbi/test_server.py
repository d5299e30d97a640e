"""The HTTP server and client of network functions, over real loopback sockets."""

from __future__ import annotations

import asyncio
import socket

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response

from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.emulator.sbi import server as server_module
from dcsdk.emulator.sbi.client import SbiClient
from dcsdk.emulator.sbi.problem import SbiProblem
from dcsdk.emulator.sbi.server import JsonResponse, SbiServer, read_json, route
from dcsdk.errors import (
    ConfigError,
    NegotiationError,
    OperationTimeout,
    ParseError,
    RemoteProtocolError,
    TransportError,
)


async def echo(request: Request) -> Response:
    return JsonResponse({"got": await read_json(request)}, status_code=201)


async def refuse(request: Request) -> Response:
    raise SbiProblem(404, "Not Found", detail="no such context", cause="CONTEXT_NOT_FOUND")


async def malformed(request: Request) -> Response:
    raise ParseError("x is missing")


async def broken(request: Request) -> Response:
    raise NegotiationError("internal")


async def crash(request: Request) -> Response:
    raise ZeroDivisionError


async def text(request: Request) -> Response:
    return Response("no json")


async def redirect(request: Request) -> Response:
    return Response(status_code=307, headers={"Location": "/echo"})


async def empty(request: Request) -> Response:
    return Response(status_code=204)


ROUTES = [
    route("/echo", echo, "POST"),
    route("/refuse", refuse, "GET"),
    route("/malformed", malformed, "GET"),
    route("/broken", broken, "GET"),
    route("/crash", crash, "GET"),
    route("/text", text, "GET"),
    route("/redirect", redirect, "GET"),
    route("/empty", empty, "DELETE"),
]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_json_goes_both_ways_and_is_traced(host: str) -> None:
    trace = TraceBus()
    async with SbiServer("DCSF", ROUTES, host=host, trace=trace) as server, SbiClient("AS") as sbi:
        answer = await sbi.call("POST", server.base_url + "/echo?x=1", {"a": [1]})
        assert (answer.status, answer.body) == (201, {"got": {"a": [1]}})
        assert (await sbi.call("DELETE", server.base_url + "/empty")).body is None
        assert trace.name_of(server.address) == "DCSF"
    seen = [(event.source, event.destination, event.summary, event.data) for event in trace]
    assert seen == [
        ("AS", "DCSF", "POST /echo?x=1", b'{"a":[1]}'),
        ("DCSF", "AS", "201 (POST /echo?x=1)", b'{"got":{"a":[1]}}'),
        ("AS", "DCSF", "DELETE /empty", b""),
        ("DCSF", "AS", "204 (DELETE /empty)", b""),
    ]


@pytest.mark.clause("TS 29.500 5.2.7")
@pytest.mark.parametrize(
    ("method", "path", "status", "cause"),
    [
        ("GET", "/refuse", 404, "CONTEXT_NOT_FOUND"),
        ("GET", "/malformed", 400, "INVALID_MSG_FORMAT"),
        ("GET", "/broken", 500, "SYSTEM_FAILURE"),
        ("GET", "/crash", 500, None),
        ("GET", "/nowhere", 404, None),
        ("GET", "/echo", 405, None),
        ("POST", "/echo", 415, None),
    ],
)
async def test_errors_are_told_as_problems(
    method: str, path: str, status: int, cause: str | None
) -> None:
    async with SbiServer("DCSF", ROUTES) as server, SbiClient("AS") as sbi:
        with pytest.raises(SbiProblem) as caught:
            await sbi.call(method, server.base_url + path)
        assert (caught.value.status, caught.value.cause) == (status, cause)


async def test_bodies_are_bounded() -> None:
    async with SbiServer("DCSF", ROUTES) as server, SbiClient("AS") as sbi:
        with pytest.raises(SbiProblem, match="413"):
            await sbi.call("POST", server.base_url + "/echo", "x" * (1 << 20))


async def test_answers_that_cannot_be_read_are_typed_errors() -> None:
    async with SbiServer("DCSF", ROUTES) as server, SbiClient("AS") as sbi:
        for path in ("/text", "/redirect"):
            with pytest.raises(RemoteProtocolError):
                await sbi.call("GET", server.base_url + path)
        async with httpx2.AsyncClient(trust_env=False) as client:
            response = await client.post(
                server.base_url + "/echo",
                content=b"{",
                headers={"Content-Type": "application/json"},
            )
            assert response.status_code == 400
            assert response.headers["content-type"] == "application/problem+json"


async def test_functions_that_cannot_be_reached_are_typed_errors() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with SbiClient("AS", timeout_s=0.2) as sbi:
            with pytest.raises(TransportError):
                await sbi.call("GET", f"http://127.0.0.1:{port}/")
            taken.listen()
            with pytest.raises(OperationTimeout):
                await sbi.call("GET", f"http://127.0.0.1:{port}/")


async def test_a_busy_port_is_a_config_error() -> None:
    async with SbiServer("DCSF", ROUTES) as server:
        second = SbiServer("DCSF", ROUTES, port=server.address[1])
        with pytest.raises(ConfigError, match="cannot listen"):
            await second.start()
        await second.aclose()
    with pytest.raises(ConfigError):
        _ = second.address


async def test_closing_ends_requests_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "GRACE_S", 0.05)
    entered = asyncio.Event()

    async def hang(request: Request) -> Response:
        entered.set()
        await asyncio.Event().wait()
        return Response()

    server = SbiServer("DCSF", [route("/", hang, "GET")])
    await server.start()
    async with SbiClient("AS") as sbi:
        call = asyncio.create_task(sbi.call("GET", server.base_url + "/"))
        await entered.wait()
        await server.aclose()
        await server.aclose()
        with pytest.raises((TransportError, SbiProblem)):
            await call


async def test_closing_lets_requests_under_way_end() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        entered.set()
        await release.wait()
        return JsonResponse({})

    server = SbiServer("DCSF", [route("/", slow, "GET")])
    await server.start()
    async with SbiClient("AS") as sbi:
        call = asyncio.create_task(sbi.call("GET", server.base_url + "/"))
        await entered.wait()
        closing = asyncio.create_task(server.aclose())
        await asyncio.sleep(0)
        release.set()
        assert (await call).status == 200
        await closing


async def test_too_many_requests_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_REQUESTS", 0)
    async with SbiServer("DCSF", ROUTES) as server, SbiClient("AS") as sbi:
        with pytest.raises(SbiProblem, match="503"):
            await sbi.call("GET", server.base_url + "/refuse")


def test_a_malformed_problem_is_still_a_problem() -> None:
    assert SbiProblem.from_json(404, {"title": "T", "cause": "C"}).to_json() == {
        "status": 404,
        "title": "T",
        "cause": "C",
    }
    assert SbiProblem.from_json(500, ["x"]).status == 500
