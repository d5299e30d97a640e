"""IMS AS, DCSF and DCMF together, over real HTTP, DTLS and SCTP; the test is the UE."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from dcsdk.emulator.app_server.ims_as_http import ImsAsHttp
from dcsdk.emulator.dc.dcmf import Dcmf
from dcsdk.emulator.dc.dcsf import LOCAL_LINE_ID, AppPolicy, Dcsf
from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.emulator.sbi.dc_control import (
    DcControlError,
    Decision,
    Initiator,
    LineEnd,
    SessionCase,
    SessionEvent,
    SessionInfo,
    Verdict,
)
from dcsdk.errors import DcsdkError
from dcsdk.ims.mini_app import MiniApp
from dcsdk.interfaces import (
    Association,
    AssociationEngine,
    ChannelParameters,
    DatagramPath,
    DtlsSctpParameters,
)
from dcsdk.plugins.apps.http import HttpProtocol
from dcsdk.plugins.apps.http_client import HttpChannel
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.plugins.lists.app_lists import HtmlListProvider, JsonAListProvider
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.tls.certificate import Certificate
from tests.emulator.memory_engine import MemoryEngine

UE_CERTIFICATE = Certificate.generate()
UE_TLS_ID = "89abcdef0123456789abcdef0123aa01"


@dataclass
class Functions:
    control: ImsAsHttp
    dcsf: Dcsf
    dcmf: Dcmf
    trace: TraceBus
    engine: AssociationEngine


@asynccontextmanager
async def functions(
    engine_class: type[AssociationEngine] = MemoryEngine,
    **dcsf_arguments: object,
) -> AsyncIterator[Functions]:
    trace, engine = TraceBus(), engine_class()
    dcmf = Dcmf(engine=engine, http=HttpProtocol(), trace=trace)
    async with dcmf, Dcsf(trace=trace, **dcsf_arguments) as dcsf:  # type: ignore[arg-type]
        control = ImsAsHttp(
            notification_url=dcsf.notification_url, mrm_root=dcmf.api_root, trace=trace
        )
        async with control:
            dcsf.connect(control.api_root)
            yield Functions(control, dcsf, dcmf, trace, engine)
            assert dcmf.context_count == 0, "a context was left behind"


def session_info(case: SessionCase = SessionCase.ORIGINATING) -> SessionInfo:
    return SessionInfo(
        session_id="s/1",
        calling_identity="sip:alice@ims.example",
        called_identity="sip:bob@ims.example",
        session_case=case,
    )


def line(
    *stream_ids: int,
    setup: Setup = Setup.ACTPASS,
    address: tuple[str, int] = ("127.0.0.1", 9),
    app: str | None = None,
) -> LineEnd:
    return LineEnd(
        address=address,
        sctp_port=5000,
        fingerprint=UE_CERTIFICATE.fingerprint,
        tls_id=UE_TLS_ID,
        setup=setup,
        max_message_size=262_144,
        streams=tuple(
            Dcmap(stream_id=stream_id, subprotocol="http", label="l") for stream_id in stream_ids
        ),
        app_binding=app,
    )


class Ue:
    """The UE's end of one bootstrap line."""

    def __init__(self, path: DatagramPath, association: Association) -> None:
        self.path, self.association = path, association

    @classmethod
    async def bind(cls, engine: AssociationEngine, certificate: Certificate = UE_CERTIFICATE) -> Ue:
        path = await engine.bind_path("127.0.0.1")
        return cls(path, engine.create(path, certificate, None))

    async def connect(self, mf: LineEnd, *, is_client: bool) -> None:
        self.association.start(
            DtlsSctpParameters(
                dtls_role="client" if is_client else "server",
                remote_address=mf.address,
                remote_fingerprints=(mf.fingerprint,),
                local_tls_id=UE_TLS_ID,
                remote_tls_id=mf.tls_id,
                remote_sctp_port=mf.sctp_port,
                remote_max_message_size=mf.max_message_size,
            )
        )
        await self.association.wait_established(10)

    def http(self, stream_id: int) -> HttpChannel:
        parameters = ChannelParameters(stream_id=stream_id, subprotocol="http")
        channel = HttpProtocol().start(self.association.open_channel(parameters), is_opener=True)
        assert isinstance(channel, HttpChannel)
        return channel

    async def aclose(self) -> None:
        await self.association.aclose()
        self.path.close()


def ended_in_mf(decision: Decision) -> LineEnd:
    assert decision.media is not None
    return decision.media


@pytest.mark.clause("TS 23.228 AC.7.1")
@pytest.mark.clause("TS 33.328 7.2.X")
@pytest.mark.parametrize("engine", [MemoryEngine, NativeEngine])
@pytest.mark.parametrize("setup", [Setup.ACTPASS, Setup.ACTIVE, Setup.PASSIVE])
async def test_a_ue_fetches_lists_and_apps_from_its_network(
    setup: Setup, engine: type[AssociationEngine]
) -> None:
    async with functions(engine) as network:
        ue = await Ue.bind(network.engine)
        offered = {"1": line(0, 10, setup=setup, address=ue.path.local_address)}
        decisions = await network.control.session_establishment(session_info(), offered)
        assert decisions.keys() == {"1"}
        assert decisions["1"].verdict is Verdict.TERMINATE
        mf = ended_in_mf(decisions["1"])
        assert mf.streams == offered["1"].streams
        assert mf.fingerprint == network.dcmf.certificate.fingerprint
        assert mf.setup is (Setup.ACTIVE if setup is Setup.PASSIVE else Setup.PASSIVE)
        await network.control.notify("s/1", SessionEvent.SUCCESS)
        await ue.connect(mf, is_client=mf.setup is Setup.PASSIVE)
        for stream_id in (0, 10):
            channel = ue.http(stream_id)
            provider = HtmlListProvider()
            response = await channel.client.get(provider.list_target())
            apps = provider.parse(
                response.status_code, response.headers["content-type"], response.content
            )
            assert [app.app_id for app in apps] == ["file-drop", "whiteboard"]
            page = await channel.client.get(apps[1].url)
            assert b"<title>Whiteboard" in page.content
            again = await channel.client.get(
                apps[1].url, headers={"If-None-Match": page.headers["etag"]}
            )
            assert (again.status_code, again.content) == (304, b"")
            assert apps[1].etag == page.headers["etag"]
            style = await channel.client.get("/apps/file-drop/style.css")
            assert style.headers["content-type"].startswith("text/css")
        await network.control.session_ended("s/1", Initiator.SERVED)
        await network.control.session_ended("s/1", Initiator.SERVED)
        await ue.aclose()
        summaries = [event.summary for event in network.trace if event.protocol == "HTTP"]
        assert summaries[0] == "POST /session-events"
        assert "POST /nmf-mrm/v1/contexts" in summaries
        assert any(event.protocol == "DC" for event in network.trace)


async def test_the_json_flavour_gives_packages() -> None:
    async with functions() as network:
        ue = await Ue.bind(network.engine)
        offered = {"1": line(0, address=ue.path.local_address)}
        decisions = await network.control.session_establishment(session_info(), offered)
        await ue.connect(ended_in_mf(decisions["1"]), is_client=True)
        channel = ue.http(0)
        provider = JsonAListProvider()
        response = await channel.client.get(provider.list_target())
        apps = provider.parse(200, response.headers["content-type"], response.content)
        assert [(app.app_id, app.needs_peer_dc) for app in apps] == [
            ("file-drop", True),
            ("whiteboard", True),
        ]
        package = await channel.client.get(apps[0].url)
        app = MiniApp.from_response(
            app_id=apps[0].app_id,
            content_type=package.headers["content-type"],
            body=package.content,
        )
        assert set(app.files()) == {
            "index.html",
            "file-drop.js",
            "style.css",
            "properties.json",
        }
        headers = {"If-None-Match": f'"x", W/{package.headers["etag"]}'}
        assert (await channel.client.get(apps[0].url, headers=headers)).status_code == 304
        for target, status in (
            ("/applications?appid=none", 404),
            ("/apps/none/", 404),
            ("/apps/file-drop/none.js", 404),
            ("/applicationlist?app-num=x", 400),
            ("/?vendor=x", 200),
            ("/lists/0/unknown", 404),
            ("/lists/0/s%2F1", 200),
        ):
            assert (await channel.client.get(target)).status_code == status, target
        assert (await channel.client.head("/")).status_code == 200
        assert (await channel.client.post("/", content=b"x" * 100_000)).status_code == 405
        part = await channel.client.get("/applicationlist?begin-index=1&app-num=1")
        assert part.json()["totalAppNum"] == 2 and part.json()["appNum"] == 1
        await network.control.session_ended("s/1", Initiator.SERVED)
        await ue.aclose()


@pytest.mark.clause("TS 24.186 9.3.3.2.1")
@pytest.mark.parametrize("engine", [MemoryEngine, NativeEngine])
async def test_the_called_ue_is_offered_a_local_line(engine: type[AssociationEngine]) -> None:
    async with functions(engine) as network:
        decisions = await network.control.session_establishment(
            session_info(SessionCase.TERMINATING), {}
        )
        assert decisions.keys() == {LOCAL_LINE_ID}
        assert decisions[LOCAL_LINE_ID].verdict is Verdict.ORIGINATE
        mf = ended_in_mf(decisions[LOCAL_LINE_ID])
        assert (mf.setup, [stream.stream_id for stream in mf.streams]) == (Setup.ACTPASS, [0])
        ue = await Ue.bind(network.engine)
        answer = line(0, setup=Setup.ACTIVE, address=ue.path.local_address)
        await network.control.media_answered("s/1", LOCAL_LINE_ID, answer)
        await ue.connect(mf, is_client=True)
        assert b"whiteboard" in (await ue.http(0).client.get("/")).content
        with pytest.raises(DcControlError, match="409"):
            other = replace(answer, address=("127.0.0.1", 9))
            await network.control.media_answered("s/1", LOCAL_LINE_ID, other)
        await network.control.session_ended("s/1", Initiator.SERVED)
        await ue.aclose()


@pytest.mark.clause("TS 29.176", "D13")
@pytest.mark.parametrize("engine", [MemoryEngine, NativeEngine])
async def test_a_ue_with_another_certificate_is_refused(engine: type[AssociationEngine]) -> None:
    async with functions(engine) as network:
        ue = await Ue.bind(network.engine, Certificate.generate())
        offered = {"1": line(0, address=ue.path.local_address)}
        decisions = await network.control.session_establishment(session_info(), offered)
        with pytest.raises(DcsdkError):
            await ue.connect(ended_in_mf(decisions["1"]), is_client=True)
        await network.trace.wait_for(lambda event: event.protocol == "DTLS")
        assert not any(event.protocol == "DC" for event in network.trace)
        await network.control.session_ended("s/1", Initiator.SERVED, is_failure=True)
        await ue.aclose()


@pytest.mark.clause("TS 23.228 AC.7.2.1")
@pytest.mark.parametrize(
    ("app", "verdict"),
    [
        ("whiteboard;adc-stream-id-endpoint=1000:UE", Verdict.FORWARD),
        ("allowed", Verdict.FORWARD),
        ("file-drop", Verdict.REJECT),
        ("unknown", Verdict.REJECT),
        (None, Verdict.REJECT),
    ],
)
async def test_application_lines_follow_the_policy(app: str | None, verdict: Verdict) -> None:
    policy = {"allowed": AppPolicy.P2P, "file-drop": AppPolicy.REJECT}
    async with functions(policy=policy) as network:
        decisions = await network.control.session_establishment(session_info(), {})
        assert decisions == {}
        for initiator in Initiator:
            decisions = await network.control.media_change(
                "s/1", initiator, {"2": line(1000, app=app)}
            )
            assert decisions == {"2": Decision(verdict=verdict)}
        await network.control.notify("s/1", SessionEvent.MEDIA_CHANGE_SUCCESS)
        await network.control.session_ended("s/1", Initiator.REMOTE)


@pytest.mark.clause("TS 26.114 6.2.10.1", "D2", "D4")
@pytest.mark.parametrize(
    ("media", "case", "verdict"),
    [
        (line(100), SessionCase.ORIGINATING, Verdict.FORWARD),
        (line(100, 110), SessionCase.TERMINATING, Verdict.TERMINATE),
        (line(0), SessionCase.TERMINATING, Verdict.REJECT),
        (line(0, 100), SessionCase.ORIGINATING, Verdict.REJECT),
        (line(5), SessionCase.ORIGINATING, Verdict.REJECT),
        (line(), SessionCase.ORIGINATING, Verdict.REJECT),
        (replace(line(), streams=(Dcmap(stream_id=0),)), SessionCase.ORIGINATING, Verdict.REJECT),
        (replace(line(0), max_message_size=100), SessionCase.ORIGINATING, Verdict.REJECT),
    ],
)
async def test_bootstrap_lines_end_where_their_ids_say(
    media: LineEnd, case: SessionCase, verdict: Verdict
) -> None:
    async with functions() as network:
        decisions = await network.control.session_establishment(session_info(case), {"1": media})
        assert decisions["1"].verdict is verdict
        await network.control.session_ended("s/1", Initiator.SERVED)


async def test_only_the_http_streams_of_a_line_are_taken() -> None:
    async with functions() as network:
        media = line(0)
        media = replace(media, streams=(*media.streams, Dcmap(stream_id=10)))
        decisions = await network.control.session_establishment(session_info(), {"1": media})
        assert ended_in_mf(decisions["1"]).streams == media.streams[:1]
        # A line that changes gets a new context; the one before is given up.
        decisions = await network.control.media_change(
            "s/1", Initiator.SERVED, {"1": line(0, address=("127.0.0.1", 10))}
        )
        assert decisions["1"].verdict is Verdict.TERMINATE
        assert network.dcmf.context_count == 1
        await network.control.delete_media("s/1", ["1", "none"])
        assert network.dcmf.context_count == 0
        await network.control.delete_media("none", ["1"])
        await network.control.session_ended("s/1", Initiator.SERVED)


async def test_a_dcmf_that_is_gone_costs_the_line_and_no_more() -> None:
    async with functions() as network:
        await network.dcmf.aclose()
        decisions = await network.control.session_establishment(
            session_info(SessionCase.TERMINATING), {"1": line(100)}
        )
        assert decisions == {"1": Decision(verdict=Verdict.REJECT)}
        with pytest.raises(DcControlError):
            await network.control.media_answered("s/1", LOCAL_LINE_ID, line(0))
        await network.control.session_ended("s/1", Initiator.SERVED)


async def test_a_dcsf_that_is_gone_is_told() -> None:
    async with functions() as network:
        await network.dcsf.aclose()
        with pytest.raises(DcControlError):
            await network.control.session_establishment(session_info(), {"1": line(0)})
        with pytest.raises(DcControlError):
            await network.control.notify("s/1", SessionEvent.SUCCESS)
        with pytest.raises(DcControlError):
            await network.control.session_ended("s/1", Initiator.SERVED)
        with pytest.raises(DcControlError, match="no session"):
            await network.control.notify("s/1", SessionEvent.SUCCESS)


async def test_a_dcsf_that_gives_no_instruction_is_not_waited_for_forever() -> None:
    async with functions() as network:
        control = ImsAsHttp(
            notification_url=network.dcsf.notification_url,
            mrm_root=network.dcmf.api_root,
            timeout_s=0.3,
        )
        async with control:  # the DCSF instructs the other IMS AS, which has no such session
            with pytest.raises(DcControlError, match="no instruction"):
                await control.session_establishment(session_info(), {"1": line(0)})


async def test_a_session_id_is_used_once() -> None:
    async with functions() as network:
        await network.control.session_establishment(session_info(), {})
        with pytest.raises(DcControlError, match="exists"):
            await network.control.session_establishment(session_info(), {})
        await network.control.session_ended("s/1", Initiator.SERVED)


async def test_closing_wakes_a_request_that_waits() -> None:
    async with functions() as network:
        network.dcsf.connect("http://127.0.0.1:9")
        waiting = asyncio.create_task(
            network.control.session_establishment(session_info(), {"1": line(0)})
        )
        await network.trace.wait_for(lambda event: event.summary.startswith("204"))
        await network.control.aclose()
        with pytest.raises(DcControlError):
            await waiting
