"""The same call over TLS, TCP and UDP, IPv4 and IPv6 (RFC 3261 18, RFC 8122 7)."""

from __future__ import annotations

import pytest

from dcsdk import CallRejected, DowngradeRefused, SecurityError, SignallingSecurity, TransportError
from dcsdk.emulator import Network
from tests.scenarios.calls import Ue, a_call, a_channel, dial, line_of, messages, network_with, talk
from tests.scenarios.conftest import MakeUe


async def call_and_talk(alice: Ue, bob: Ue) -> SignallingSecurity:
    """A whole call; returns what the reports say of the signalling, the same in all of them."""
    async with a_call(alice, bob) as (session, answered):
        assert await session.bootstrap.applications()
        one, other = await a_channel(session, answered)
        await talk(one, other)
        reports = [stream.security for end in (session, answered) for stream in end.streams]
        (said,) = {report.signalling for report in reports}
        return said


@pytest.mark.clause("RFC 3261 18", "RFC 8122 7")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_unprotected_signalling_works_when_allowed_and_every_report_says_so(
    make_ue: MakeUe, transport: str
) -> None:
    ues = [await make_ue(name, pcscf_transport=transport) for name in ("alice", "bob")]
    for ue in ues:
        assert ue.client.registration is not None
        assert ue.client.registration.grant.signalling is SignallingSecurity.NONE
    assert await call_and_talk(*ues) is SignallingSecurity.NONE


@pytest.mark.clause("RFC 8122 7")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_unprotected_signalling_is_refused_unless_allowed(
    ims_network: Network, make_ue: MakeUe, transport: str
) -> None:
    careless = {"pcscf_transport": transport}
    alice = await make_ue("alice", allow_unprotected_signalling=False, **careless)
    with pytest.raises(DowngradeRefused, match="allow_unprotected_signalling"):
        await alice.client.call("sip:bob@ims.example")
    assert not list(messages(ims_network, "alice", "P-CSCF", "INVITE"))
    assert alice.media.bytes_sent == 0


@pytest.mark.clause("RFC 8122 7")
async def test_a_call_over_unprotected_signalling_is_not_answered_unless_allowed(
    ims_network: Network, make_ue: MakeUe
) -> None:
    alice = await make_ue("alice")
    bob = await make_ue("bob", pcscf_transport="tcp", allow_unprotected_signalling=False)
    mine, theirs = await dial(alice, bob)
    assert isinstance(theirs, DowngradeRefused)
    assert isinstance(mine, CallRejected) and mine.status == 488
    assert bob.media.bytes_sent == 0


@pytest.mark.clause("RFC 3261 18")
async def test_ues_on_different_transports_call_each_other(make_ue: MakeUe) -> None:
    alice, bob = await make_ue("alice"), await make_ue("bob", pcscf_transport="udp")
    async with a_call(alice, bob) as (session, answered):
        one, other = await a_channel(session, answered)
        await talk(one, other)
        assert one.security.signalling is SignallingSecurity.TLS
        assert other.security.signalling is SignallingSecurity.NONE


@pytest.mark.clause("RFC 3261 19.1", "RFC 8866 5.7")
@pytest.mark.parametrize("transport", ["tls", "udp"])
@network_with(host="::1")
async def test_a_call_over_ipv6(ims_network: Network, make_ue: MakeUe, transport: str) -> None:
    ues = [await make_ue(name, pcscf_transport=transport) for name in ("alice", "bob")]
    await call_and_talk(*ues)
    offer = next(messages(ims_network, "alice", "P-CSCF", "INVITE"))
    assert line_of(offer).address() is not None
    assert b"c=IN IP6 ::1" in offer.data


@pytest.mark.clause("TS 33.203 O.2", "RFC 3261 26.3.1")
async def test_a_pcscf_whose_certificate_is_not_trusted_is_refused(make_ue: MakeUe) -> None:
    with pytest.raises((SecurityError, TransportError), match="certificate"):
        await make_ue("alice", ca_file=None)


async def test_a_pcscf_that_is_not_there_is_a_transport_error(make_ue: MakeUe) -> None:
    with pytest.raises(TransportError):
        await make_ue("alice", pcscf_port=1)
