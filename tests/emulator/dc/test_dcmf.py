"""``Nmf_MRM`` of the DCMF: what it refuses, and that nothing is left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from dcsdk.emulator.dc import dcmf as dcmf_module
from dcsdk.emulator.dc.dcmf import CONTEXTS_PATH, PATCH_TYPE, Dcmf
from dcsdk.emulator.sbi.client import SbiClient
from dcsdk.emulator.sbi.common import DcEndpoint, Endpoint, Transport
from dcsdk.emulator.sbi.mrm import (
    DcMedia,
    MediaContext,
    MediaInfo,
    MediaProxy,
    MediaResourceType,
    TerminationInfo,
)
from dcsdk.emulator.sbi.problem import SbiProblem
from dcsdk.plugins.apps.http import HttpProtocol
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.tls.certificate import Certificate
from tests.emulator.memory_engine import MemoryEngine

CERTIFICATE = Certificate.generate()
UE_END = DcEndpoint(sctp_port=5000, fingerprint=CERTIFICATE.fingerprint, tls_id="0" * 32)
DC_MEDIA = DcMedia(
    media_proxy_config=MediaProxy.HTTP,
    replace_http_urls={0: "http://127.0.0.1:9/list", 10: "http://127.0.0.1:9/user"},
    streams=(Dcmap(stream_id=0, subprotocol="http"),),
    remote_dc_endpoint=UE_END,
    security_setup=Setup.ACTPASS,
)
MEDIA = MediaInfo(
    media_id="1",
    remote_mb_endpoint=Endpoint(address=("127.0.0.1", 9), transport=Transport.UDP),
    dc_media=DC_MEDIA,
)


class Mrm:
    """The IMS AS's side."""

    def __init__(self, dcmf: Dcmf, engine: MemoryEngine, client: SbiClient) -> None:
        self.dcmf, self.engine, self.client = dcmf, engine, client

    async def create(self, *medias: MediaInfo) -> tuple[str, MediaContext]:
        context = MediaContext(terminations=(TerminationInfo(medias=medias),))
        url = self.dcmf.api_root + CONTEXTS_PATH
        answer = await self.client.call("POST", url, context.to_json())
        assert answer.status == 201
        return answer.headers["location"], MediaContext.from_json(answer.body)

    async def update(self, url: str, **values: Any) -> MediaInfo:
        patch = [
            {"op": "add", "path": "/terminations/0/medias/0/" + path.replace("__", "/"), "value": v}
            for path, v in values.items()
        ]
        answer = await self.client.call("PATCH", url, patch, content_type=PATCH_TYPE)
        return MediaContext.from_json(answer.body).terminations[0].medias[0]


@pytest.fixture
async def mf() -> AsyncIterator[Mrm]:
    engine = MemoryEngine()
    dcmf = Dcmf(engine=engine, http=HttpProtocol())
    async with dcmf, SbiClient("IMS-AS") as client:
        yield Mrm(dcmf, engine, client)
    assert engine.open_paths == [] and dcmf.context_count == 0


@pytest.mark.clause("TS 29.176")
async def test_contexts_are_made_changed_and_deleted(mf: Mrm) -> None:
    url, context = await mf.create(MEDIA)
    assert context.context_id is not None and url.endswith(context.context_id)
    [termination] = context.terminations
    [media] = termination.medias
    assert termination.termination_id == "t1"
    assert media.local_mb_endpoint is not None and media.dc_media is not None
    assert media.local_mb_endpoint.address == mf.engine.paths[0].local_address
    assert media.dc_media.security_setup is Setup.PASSIVE
    assert media.dc_media.local_dc_endpoint is not None
    assert media.dc_media.local_dc_endpoint.tls_id is not None
    grown = await mf.update(url, dcMedia__streams__10={"streamId": 10, "subprotocol": "http"})
    assert grown.dc_media is not None
    assert [stream.stream_id for stream in grown.dc_media.streams] == [0, 10]
    assert (await mf.client.call("DELETE", url)).status == 204
    for method, body in (("DELETE", None), ("PATCH", [])):
        with pytest.raises(SbiProblem, match="404"):
            await mf.client.call(method, url, body, content_type=PATCH_TYPE)


async def test_an_offer_without_tls_id_is_answered_without() -> None:
    engine = MemoryEngine()
    async with Dcmf(engine=engine, http=HttpProtocol()) as dcmf, SbiClient("IMS-AS") as client:
        end = replace(UE_END, tls_id=None)
        media = replace(MEDIA, dc_media=replace(DC_MEDIA, remote_dc_endpoint=end))
        _, context = await Mrm(dcmf, engine, client).create(media)
        answered = context.terminations[0].medias[0].dc_media
        assert answered is not None and answered.local_dc_endpoint is not None
        assert answered.local_dc_endpoint.tls_id is None


def _dc(**changes: Any) -> MediaInfo:
    return replace(MEDIA, dc_media=replace(DC_MEDIA, **changes))


@pytest.mark.parametrize(
    ("media", "status"),
    [
        (replace(MEDIA, dc_media=None), 501),
        (replace(MEDIA, media_resource_type=MediaResourceType.AUDIO), 501),
        (_dc(media_proxy_config=MediaProxy.UDP), 501),
        (_dc(media_proxy_config=None), 501),
        (_dc(streams=()), 400),
        (_dc(streams=(Dcmap(stream_id=5, subprotocol="http"),)), 400),
        (_dc(streams=(Dcmap(stream_id=0, is_ordered=False),)), 400),
        (_dc(streams=(Dcmap(stream_id=0, max_retr=0),)), 400),
        (_dc(remote_dc_endpoint=None), 400),
        (_dc(security_setup=None), 400),
    ],
)
async def test_what_the_mf_cannot_do_is_refused(mf: Mrm, media: MediaInfo, status: int) -> None:
    with pytest.raises(SbiProblem) as caught:
        await mf.create(media)
    assert caught.value.status == status


async def test_contexts_and_lines_are_bounded(mf: Mrm, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SbiProblem, match="400"):
        await mf.create(MEDIA, MEDIA)
    with pytest.raises(SbiProblem, match="400"):
        await mf.create(*(replace(MEDIA, media_id=str(number)) for number in range(9)))
    monkeypatch.setattr(dcmf_module, "MAX_CONTEXTS", 0)
    with pytest.raises(SbiProblem, match="503"):
        await mf.create(MEDIA)


async def test_no_free_port_is_told(mf: Mrm) -> None:
    mf.engine.fails_to_bind = True
    with pytest.raises(SbiProblem, match="503"):
        await mf.create(MEDIA)


async def test_updates_that_do_not_fit_are_refused(mf: Mrm) -> None:
    offered = replace(
        MEDIA,
        remote_mb_endpoint=None,
        dc_media=replace(DC_MEDIA, remote_dc_endpoint=None, security_setup=None),
    )
    url, context = await mf.create(offered)
    media = context.terminations[0].medias[0]
    assert media.dc_media is not None and media.dc_media.security_setup is Setup.ACTPASS
    unchanged = await mf.update(url)
    assert unchanged == media
    remote = Endpoint(address=("127.0.0.1", 9), transport=Transport.UDP).to_json()
    with pytest.raises(SbiProblem, match="remoteDcEndpoint"):
        await mf.update(url, remoteMbEndpoint=remote)
    with pytest.raises(SbiProblem, match="securitySetup"):
        await mf.update(url, remoteMbEndpoint=remote, dcMedia__remoteDcEndpoint=UE_END.to_json())
    with pytest.raises(SbiProblem, match="409"):
        await mf.update(url, mediaId="2")
    with pytest.raises(SbiProblem, match="400"):
        await mf.update(url, none__x=1)
    connected = await mf.update(
        url,
        remoteMbEndpoint=remote,
        dcMedia__remoteDcEndpoint=UE_END.to_json(),
        dcMedia__securitySetup="PASSIVE",
    )
    assert connected.dc_media is not None
    assert connected.dc_media.security_setup is Setup.ACTIVE
    other = Endpoint(address=("127.0.0.1", 10), transport=Transport.UDP).to_json()
    with pytest.raises(SbiProblem, match="409"):
        await mf.update(url, remoteMbEndpoint=other)
