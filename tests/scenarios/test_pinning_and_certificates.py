"""What the UE itself can prove: pinned fingerprints, and certificates of its own making."""

from __future__ import annotations

import asyncio

import pytest

from dcsdk import Fingerprint, FingerprintMismatch, SecurityScope, StreamClosed
from tests.scenarios.calls import Ue, a_call, a_channel, next_request, talk
from tests.scenarios.conftest import MakeUe


@pytest.mark.clause("TS 33.328 7.2.Y", "TS 24.186 9.3.3.2.1", "RFC 8122 5")
async def test_a_pinned_fingerprint_proves_end_to_end(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        bobs = Fingerprint.parse(answered.streams[0].security.local_fingerprint)
        one, other = await a_channel(session, answered, pinned_fingerprint=bobs)
        await talk(one, other)
        assert one.security.scope is SecurityScope.E2E
        assert "pinned" in one.security.reason
        assert one.security.peer_fingerprint == str(bobs)
        assert other.security.scope is SecurityScope.NETWORK_DECIDES, "bob pinned nothing"


@pytest.mark.clause("E6", "RFC 3264 8.2", "D14")
async def test_another_fingerprint_than_the_pinned_one_ends_the_line_before_any_media(
    alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (session, answered):
        dcmfs = Fingerprint.parse(session.streams[0].security.peer_fingerprint)
        opening = asyncio.create_task(session.open(label="x", pinned_fingerprint=dcmfs))
        request = await next_request(answered)
        with pytest.raises(ConnectionError):
            await request.accept()
        with pytest.raises(FingerprintMismatch, match="pinned"):
            await opening
        assert alice.media.bytes_sent_on(1) == 0
        assert len(answered.streams) == len(session.streams) == 1, "told by port 0"
        assert bob.told(StreamClosed) == []
        assert await session.bootstrap.applications()
        await talk(*await a_channel(session, answered, label="next"))


@pytest.mark.clause("RFC 8122 5")
async def test_one_certificate_serves_all_calls_of_a_client(alice: Ue, bob: Ue) -> None:
    shown = []
    for _ in range(2):
        async with a_call(alice, bob) as sessions:
            shown.append([end.streams[0].security.local_fingerprint for end in sessions])
    assert shown[0] == shown[1]


@pytest.mark.clause("RFC 8122 5", "RFC 8827 6.5")
async def test_certificates_per_session_differ_from_call_to_call(make_ue: MakeUe) -> None:
    ues = [await make_ue(name, certificates="per_session") for name in ("alice", "bob")]
    shown = set()
    for _ in range(2):
        async with a_call(*ues) as (session, answered):
            one, other = await a_channel(session, answered)
            await talk(one, other)
            for end in (session, answered):
                (fingerprint,) = {stream.security.local_fingerprint for stream in end.streams}
                shown.add(fingerprint)
    assert len(shown) == 4
