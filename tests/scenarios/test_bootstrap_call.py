"""A call with bootstrap channels that end in the network: e2DCe (TS 33.328 7.2.X, 7.3.X)."""

from __future__ import annotations

import pytest

from dcsdk import (
    LineRole,
    Session,
    SessionEnded,
    StreamSecured,
    UnsupportedByPeer,
)
from dcsdk.emulator import Network
from dcsdk.emulator.lab.trace import TraceEvent
from dcsdk.ims.profile import DEFAULT_PROFILE
from dcsdk.security import SecurityScope, SignallingSecurity
from tests.scenarios.calls import Ue, a_call, headers_of, line_of, messages, network_with


@pytest.mark.clause("TS 33.328 7.2.X step 1", "TS 26.114 6.2.10.1", "TS 23.228 AC.7.1")
async def test_caller_offers_fingerprint_tls_id_setup_and_the_indication(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob):
        (invite,) = messages(ims_network, "alice", "P-CSCF", "INVITE")
        offered = line_of(invite)
        assert offered.proto == "UDP/DTLS/SCTP"
        assert [dcmap.stream_id for dcmap in offered.dcmaps] == [0, 10]
        assert {dcmap.subprotocol for dcmap in offered.dcmaps} == {"http"}
        assert offered.get("setup") == "actpass"
        assert offered.has("fingerprint") and offered.has("tls-id")
        assert offered.get("3ge2dce") == "requested"
        assert '+sip.app-subtype="webrtc-datachannel"' in headers_of(invite, "Contact")[0]


@pytest.mark.clause("TS 33.328 7.2.X step 2", "TS 33.328 7.2.X step 3")
async def test_the_indication_of_the_caller_goes_no_further_than_the_pcscf(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob):
        (outside,) = messages(ims_network, "alice", "P-CSCF", "INVITE")
        inside = next(messages(ims_network, "P-CSCF", "S-CSCF", "INVITE"))
        assert not line_of(inside).has("3ge2dce")
        assert line_of(inside).get("fingerprint") == line_of(outside).get("fingerprint")


@pytest.mark.clause("TS 33.328 7.2.X step 7", "TS 33.328 7.2.X step 9", "TS 23.228 AC.7.1")
async def test_the_answer_to_the_caller_is_the_dcmfs(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob):
        (answer,) = messages(ims_network, "P-CSCF", "alice", "200 OK (INVITE)")
        line = line_of(answer)
        assert line.get("fingerprint") == str(ims_network.dcmf.certificate.fingerprint)
        assert line.has("tls-id") and line.get("setup") in ("active", "passive")
        created = messages(ims_network, "IMS-AS", "DCMF", "POST /nmf-mrm/v1/contexts")
        assert len(list(created)) == 2, "one for each served user"


@pytest.mark.clause("TS 33.328 7.2.X step 10", "TS 33.328 7.2.X NOTE 3")
async def test_the_caller_concludes_e2dce_from_registration_and_request(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (session, _):
        (stream,) = session.streams
        assert stream.app.role is LineRole.BOOTSTRAP and stream.app.stream_ids == (0, 10)
        report = stream.security
        assert report.scope is SecurityScope.E2DCE
        assert report.signalling is SignallingSecurity.TLS
        assert report.suite and report.version == "DTLSv1.2"
        assert report.asserted_identity is None, "the far user is not who is at the other end"
        assert ims_network.scope_of(report.peer_fingerprint) is SecurityScope.E2DCE
        assert session.bootstrap.security == report
        (secured,) = alice.told(StreamSecured)
        assert secured.report == report and secured.call_id == session.call_id


@pytest.mark.clause("TS 33.328 7.3.X step 1", "TS 33.328 7.3.X step 2", "TS 24.186 9.3.3")
async def test_the_callee_gets_the_dcmfs_line_marked_applied(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (_, answered):
        (invite,) = messages(ims_network, "P-CSCF", "bob", "INVITE")
        offered = line_of(invite)
        assert offered.get("fingerprint") == str(ims_network.dcmf.certificate.fingerprint)
        assert offered.has("tls-id") and offered.has("setup")
        assert offered.get("3ge2dce") == "applied"
        (stream,) = answered.streams
        assert stream.security.scope is SecurityScope.E2DCE
        assert "applied" in stream.security.reason
        assert answered.asserted_identity == "sip:alice@ims.example"


@pytest.mark.clause("TS 33.328 7.3.X step 4", "RFC 8842 5.3")
async def test_the_callee_answers_with_its_own_fingerprint_tls_id_and_setup(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (_, answered):
        (answer,) = messages(ims_network, "bob", "P-CSCF", "200 OK (INVITE)")
        line = line_of(answer)
        assert line.get("fingerprint") == answered.streams[0].security.local_fingerprint
        assert line.has("tls-id") and line.get("setup") == DEFAULT_PROFILE.answer_setup.value
        assert not line.has("3ge2dce"), "the indication is the network's to give"


@pytest.mark.clause("TS 23.228 AC.7.1", "TS 26.114 6.2.10.1")
async def test_both_users_fetch_the_list_over_channels_of_their_own(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as sessions:
        lists = [await session.bootstrap.applications() for session in sessions]
        assert lists[0] == lists[1] != []
        served = {event.summary for event in messages(ims_network, "DCMF", "DCSF", "GET /lists/0/")}
        assert len(served) == 2, "one list resource for each session"


@pytest.mark.clause("TS 33.328 7.2.X", "TS 33.328 7.3.X NOTE 3")
@network_with(e2dce_tokens=False)
async def test_without_the_tokens_nobody_knows_who_ends_the_bootstrap_line(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as sessions:
        (invite,) = messages(ims_network, "alice", "P-CSCF", "INVITE")
        assert not line_of(invite).has("3ge2dce")
        for session in sessions:
            report = session.streams[0].security
            assert report.scope is SecurityScope.NETWORK_DECIDES
            assert ims_network.scope_of(report.peer_fingerprint) is SecurityScope.E2DCE


@pytest.mark.clause("E9")
@network_with("E9", e2dce_tokens=False)
async def test_applied_is_not_trusted_without_registration(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as sessions:
        for session in sessions:
            assert session.streams[0].security.scope is SecurityScope.NETWORK_DECIDES


@pytest.mark.clause("E10")
@network_with("E10")
async def test_an_unknown_indication_is_ignored(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        assert session.streams[0].security.scope is SecurityScope.E2DCE
        assert answered.streams[0].security.scope is SecurityScope.NETWORK_DECIDES


@pytest.mark.clause("TS 24.186 9.3.2.2.1")
async def test_a_call_may_ask_for_no_bootstrap_line(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob, []) as (session, _):
        assert not session.bootstrap.is_available and session.bootstrap.stream_ids == ()
        with pytest.raises(UnsupportedByPeer):
            await session.bootstrap.applications()
        with pytest.raises(UnsupportedByPeer):
            _ = session.bootstrap.security


@pytest.mark.clause("TS 24.229 5.1.3", "RFC 3261 15")
async def test_the_end_of_a_call_is_told_and_frees_the_media_functions(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    ended: list[Session] = []
    async with a_call(alice, bob) as sessions:
        ended += sessions
        assert not any(session.is_ended for session in sessions)
    for ue, session in zip((alice, bob), ended, strict=True):
        assert session.is_ended and session.streams == ()
        (event,) = ue.told(SessionEnded)
        assert event.call_id == session.call_id
        assert event.reason == await session.wait_ended()
    freed: set[str] = set()

    def are_both_freed(event: TraceEvent) -> bool:
        if event.summary.startswith("DELETE /nmf-mrm"):
            freed.add(event.summary)
        return len(freed) == 2

    await ims_network.trace.wait_for(are_both_freed)
