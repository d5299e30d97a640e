"""Registrations and calls that fail: in time, and with an error that says why."""

from __future__ import annotations

import pytest

from dcsdk import (
    CallRejected,
    OperationTimeout,
    RegistrationFailed,
    RegistrationLost,
)
from dcsdk.emulator import Network
from tests.scenarios.calls import (
    BOB,
    Ue,
    a_call,
    a_channel,
    messages,
    network_with,
    talk,
)
from tests.scenarios.conftest import MakeUe

from .test_refusals import fault, row


# --- registrations that fail ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("ims_network", "status"),
    [
        row("TS 24.229 5.1.1.5", fault("401-loop"), 401),
        row("TS 24.229 5.1.1.2", fault("403"), 403),
        row("RFC 3261 10.2.8", fault("423"), 423),
        row("E3", fault("494"), 494),
        row("E4", fault("E4"), 494),
        row("E19", fault("E19"), 420),
    ],
    indirect=["ims_network"],
)
async def test_a_registration_that_is_refused_again_and_again_ends_with_the_status(
    ims_network: Network, make_ue: MakeUe, status: int
) -> None:
    alice = await make_ue("alice", register=False)
    with pytest.raises(RegistrationFailed) as caught:
        await alice.client.register()
    assert caught.value.status == status
    assert alice.client.registration is None
    assert len(list(messages(ims_network, "alice", "P-CSCF", "REGISTER"))) <= 4
    assert alice.told(RegistrationLost) == []


@pytest.mark.clause("RFC 3261 10.2.8")
@network_with(min_expires_s=3600)
async def test_423_is_answered_with_a_longer_registration(make_ue: MakeUe) -> None:
    alice = await make_ue("alice", register_expires_s=60)
    assert alice.client.registration is not None
    assert alice.client.registration.expires_s == 3600


@pytest.mark.clause("RFC 3261 17.1.2.2", "TS 24.229 5.1.1.2")
@network_with("silence")
async def test_a_silent_network_is_given_up_in_time(make_ue: MakeUe) -> None:
    alice = await make_ue("alice", register=False, register_timeout_s=0.2)
    with pytest.raises(OperationTimeout):
        await alice.client.register()


@pytest.mark.clause("RFC 3261 17.1.2.2")
@network_with("silence")
async def test_over_udp_a_silent_network_is_asked_again_and_then_given_up(
    quick_sip: None, ims_network: Network, make_ue: MakeUe
) -> None:
    alice = await make_ue("alice", register=False, pcscf_transport="udp")
    with pytest.raises(OperationTimeout):
        await alice.client.register()


# --- calls that fail ------------------------------------------------------------------------------
@pytest.mark.clause("RFC 3261 21.4.26")
@network_with("488")
async def test_488_to_the_invite(alice: Ue) -> None:
    with pytest.raises(CallRejected) as caught:
        await alice.client.call(BOB)
    assert caught.value.status == 488
    assert alice.media.bytes_sent == 0


@pytest.mark.clause("RFC 3261 16.6", "RFC 3261 9.1")
@network_with("silence-invite")
async def test_an_invite_nobody_answers_is_cancelled_in_time(
    ims_network: Network, make_ue: MakeUe
) -> None:
    alice = await make_ue("alice", call_timeout_s=0.2)
    with pytest.raises(OperationTimeout):
        await alice.client.call(BOB)
    assert alice.media.bytes_sent == 0
    await ims_network.trace.wait_for(lambda event: event.summary == "CANCEL")


@pytest.mark.clause("D12", "RFC 3261 14.1")
@network_with("D12")
async def test_488_to_a_reoffer_leaves_the_session_as_it_was(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        with pytest.raises(CallRejected) as caught:
            await session.open(label="chat")
        assert caught.value.status == 488
        assert len(session.streams) == 1 and len(alice.media.associations) == 2
        assert alice.media.bytes_sent_on(1) == 0
        assert await session.bootstrap.applications()
        assert not answered.is_ended


@pytest.mark.clause("D10", "RFC 3261 14.1")
@network_with("D10")
async def test_491_to_a_reoffer_is_tried_again(
    quick_sip: None, ims_network: Network, make_ue: MakeUe
) -> None:
    alice, bob = await make_ue("alice"), await make_ue("bob")
    async with a_call(alice, bob) as (session, answered):
        await talk(*await a_channel(session, answered))
        assert list(messages(ims_network, "P-CSCF", "alice", "491"))
        assert [stream.index for stream in session.streams] == [0, 1]


@pytest.mark.clause("RFC 3261 14.1")
@network_with("silence-reinvite")
async def test_a_reoffer_nobody_answers_is_given_up_in_time(make_ue: MakeUe) -> None:
    alice, bob = await make_ue("alice", call_timeout_s=1.5), await make_ue("bob")
    async with a_call(alice, bob) as (session, _):
        with pytest.raises(OperationTimeout):
            await session.open(label="chat")
        assert alice.media.bytes_sent_on(1) == 0
