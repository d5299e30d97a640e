"""The HTTP half of the IMS AS against a DCSF and an MF that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from dcsdk.emulator.app_server import ims_as_http
from dcsdk.emulator.app_server.ims_as_http import ImsAsHttp
from dcsdk.emulator.sbi.client import SbiClient
from dcsdk.emulator.sbi.dc_control import (
    DcControlError,
    Decision,
    Initiator,
    LineEnd,
    SessionCase,
    SessionInfo,
    Verdict,
)
from dcsdk.emulator.sbi.imsas import (
    MediaInstruction,
    MediaInstructionData,
    MediaInstructions,
)
from dcsdk.emulator.sbi.problem import SbiProblem
from dcsdk.emulator.sbi.server import JsonResponse, SbiServer, read_json, route
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.sdp.fingerprint import Fingerprint

INFO = SessionInfo(
    session_id="s1",
    calling_identity="sip:a@x",
    called_identity="sip:b@x",
    session_case=SessionCase.ORIGINATING,
)
FINGERPRINT = Fingerprint(hash_function="sha-256", digest=bytes(32))
LINE = LineEnd(
    address=("127.0.0.1", 9),
    sctp_port=5000,
    fingerprint=FINGERPRINT,
    tls_id=None,
    setup=Setup.ACTPASS,
    max_message_size=65_536,
    streams=(Dcmap(stream_id=0, subprotocol="http"),),
)
MB = {"ip": {"ipv4Addr": "127.0.0.1"}, "transport": "UDP", "portNumber": 4000}
DC = {"sctpPort": 5000, "fingerprint": str(FINGERPRINT).upper()}


class Peer:
    """A DCSF and an MF in one; the test says what they do."""

    def __init__(self) -> None:
        self.created = 0
        self.deleted = 0
        self.delete_status = 204
        self.local: dict[str, Any] | None = {"localDcEndpoint": DC, "securitySetup": "PASSIVE"}
        self.mb: dict[str, Any] | None = MB
        self.location: str | None = None
        self.hold: asyncio.Event | None = None
        self.on_event = asyncio.Event()
        self.root = ""

    async def event(self, request: Request) -> Response:
        await read_json(request)
        self.on_event.set()
        return Response(status_code=204)

    async def create(self, request: Request) -> Response:
        wanted = await read_json(request)
        self.created += 1
        if self.hold is not None:
            await self.hold.wait()
        media = dict(wanted["terminations"][0]["medias"][0])
        media["dcMedia"] = {"streams": media["dcMedia"]["streams"], **(self.local or {})}
        if self.mb is not None:
            media["localMbEndpoint"] = self.mb
        location = self.location or f"{self.root}/nmf-mrm/v1/contexts/c{self.created}"
        body = {"terminations": [{"medias": [media]}]}
        return JsonResponse(body, status_code=201, headers={"Location": location})

    async def delete(self, request: Request) -> Response:
        self.deleted += 1
        return Response(status_code=self.delete_status)


@asynccontextmanager
async def control(timeout_s: float = 5.0) -> AsyncIterator[tuple[ImsAsHttp, Peer, SbiClient]]:
    peer = Peer()
    routes = [
        route("/events", peer.event, "POST"),
        route("/nmf-mrm/v1/contexts", peer.create, "POST"),
        route("/nmf-mrm/v1/contexts/{id}", peer.delete, "DELETE"),
    ]
    async with SbiServer("DCSF", routes) as server, SbiClient("DCSF") as client:
        peer.root = server.base_url
        half = ImsAsHttp(
            notification_url=server.base_url + "/events",
            mrm_root=server.base_url,
            timeout_s=timeout_s,
        )
        async with half:
            yield half, peer, client


def instruct(
    instruction: MediaInstruction = MediaInstruction.TERMINATE_MEDIA, media_id: str = "1"
) -> dict[str, MediaInstructions]:
    return {
        media_id: MediaInstructions(
            media_id=media_id, media_instruction=instruction, streams=LINE.streams
        )
    }


async def ask_and_instruct(
    half: ImsAsHttp, peer: Peer, client: SbiClient, instructions: Mapping[str, MediaInstructions]
) -> Mapping[str, Decision]:
    asking = asyncio.create_task(half.session_establishment(INFO, {"1": LINE}))
    await peer.on_event.wait()
    try:
        await post(half, client, MediaInstructionData(session_id="s1", instructions=instructions))
    except SbiProblem:
        asking.cancel()
        await asyncio.wait([asking])
        raise
    return await asking


async def post(half: ImsAsHttp, client: SbiClient, data: MediaInstructionData) -> Any:
    url = f"{half.api_root}/nimsas-mc/v1/call-sessions/s1/media-instruction"
    return (await client.call("POST", url, data.to_json())).body


async def test_a_line_ends_in_the_mf_and_its_context_is_deleted() -> None:
    async with control() as (half, peer, client):
        decisions = await ask_and_instruct(half, peer, client, instruct())
        assert decisions["1"].verdict is Verdict.TERMINATE
        assert decisions["1"].media is not None
        assert decisions["1"].media.address == ("127.0.0.1", 4000)
        peer.delete_status = 404
        await half.session_ended("s1", Initiator.SERVED)
        assert (peer.created, peer.deleted) == (1, 1)


@pytest.mark.parametrize(
    ("local", "mb"),
    [
        ({"localDcEndpoint": DC, "securitySetup": "ACTPASS"}, MB),
        ({"localDcEndpoint": DC}, MB),
        ({"securitySetup": "PASSIVE"}, MB),
        ({"localDcEndpoint": DC, "securitySetup": "PASSIVE"}, None),
        ({"localDcEndpoint": {"sctpPort": 1}, "securitySetup": "PASSIVE"}, MB),
    ],
)
async def test_an_mf_that_gives_no_usable_end_costs_the_line(
    local: dict[str, Any], mb: dict[str, Any] | None
) -> None:
    async with control() as (half, peer, client):
        peer.local, peer.mb = local, mb
        decisions = await ask_and_instruct(half, peer, client, instruct())
        assert decisions == {"1": Decision(verdict=Verdict.REJECT)}
        assert peer.deleted == 1


async def test_a_location_elsewhere_is_not_believed() -> None:
    async with control() as (half, peer, client):
        peer.location = "http://evil.example/contexts/1"
        decisions = await ask_and_instruct(half, peer, client, instruct())
        assert decisions == {"1": Decision(verdict=Verdict.REJECT)}
        assert peer.deleted == 0


async def test_contexts_the_mf_keeps_are_told() -> None:
    async with control() as (half, peer, client):
        await ask_and_instruct(half, peer, client, instruct())
        peer.delete_status = 500
        with pytest.raises(DcControlError, match="did not delete"):
            await half.session_ended("s1", Initiator.SERVED)
        await half.session_ended("s1", Initiator.SERVED)
        assert peer.deleted == 1


@pytest.mark.parametrize(
    ("instructions", "status"),
    [
        (instruct(MediaInstruction.UPDATE_MEDIA), 501),
        (instruct(MediaInstruction.ORIGINATE_MEDIA), 501),
        (instruct(MediaInstruction.TERMINATE_MEDIA, "2"), 404),
        (
            {
                key: value
                for number in range(9)
                for key, value in instruct(MediaInstruction.ORIGINATE_MEDIA, f"n{number}").items()
            },
            400,
        ),
        (
            {
                "n1": MediaInstructions(
                    media_id="n1",
                    media_instruction=MediaInstruction.ORIGINATE_MEDIA,
                    streams=(Dcmap(stream_id=1000, max_retr=1, max_time_ms=1),),
                )
            },
            400,
        ),
    ],
)
async def test_instructions_that_do_not_fit_are_refused(
    instructions: dict[str, MediaInstructions], status: int
) -> None:
    async with control() as (half, peer, client):
        with pytest.raises(SbiProblem) as caught:
            await ask_and_instruct(half, peer, client, instructions)
        assert caught.value.status == status
        assert peer.created == 0


async def test_instructions_nobody_waits_for_are_refused() -> None:
    async with control() as (half, peer, client):
        data = MediaInstructionData(session_id="s1", instructions={})
        with pytest.raises(SbiProblem, match="404"):
            await post(half, client, data)
        await ask_and_instruct(half, peer, client, {})
        with pytest.raises(SbiProblem, match="409"):
            await post(half, client, data)
        other = MediaInstructionData(session_id="s2", instructions={})
        with pytest.raises(SbiProblem, match="404"):
            await post(half, client, other)


async def test_lines_made_too_late_are_given_up() -> None:
    async with control(timeout_s=0.3) as (half, peer, client):
        peer.hold = asyncio.Event()
        asking = asyncio.create_task(half.session_establishment(INFO, {"1": LINE}))
        await peer.on_event.wait()
        data = MediaInstructionData(session_id="s1", instructions=instruct())
        instructing = asyncio.create_task(post(half, client, data))
        with pytest.raises(DcControlError, match="no instruction"):
            await asking
        peer.hold.set()
        with pytest.raises(SbiProblem, match="409"):
            await instructing
        assert (peer.created, peer.deleted) == (1, 1)


async def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ims_as_http, "MAX_SESSIONS", 0)
    async with control() as (half, _, _client):
        with pytest.raises(DcControlError, match="more than"):
            await half.session_establishment(INFO, {})
