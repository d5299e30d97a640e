"""Offers that ask for more than a session may cost."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from dcsdk import CallRejected, DcsdkError, LocalProtocolError
from dcsdk.errors import TransportError
from dcsdk.plugins.signalling.sip_calls import SipIncomingInvitation
from dcsdk.session.line_paths import LinePaths
from tests.scenarios.calls import BOB, Ue


async def hostile_invitation(bob: Ue, lines: int) -> SipIncomingInvitation:
    """The invitation of the next call, with its bootstrap line many times."""
    invitation = await anext(bob.client._signalling.invitations())
    assert isinstance(invitation, SipIncomingInvitation)
    offer = invitation.offer
    assert offer is not None
    invitation.offer = dataclasses.replace(offer, media=tuple(offer.media) * lines)
    return invitation


@pytest.mark.clause("D15")
async def test_an_offer_of_too_many_lines_is_refused_before_a_socket_is_opened(
    alice: Ue, bob: Ue
) -> None:
    calling = asyncio.create_task(alice.client.call(BOB))
    invitation = await hostile_invitation(bob, 60)
    with pytest.raises(LocalProtocolError, match="D15"):
        await bob.client.answer(invitation)
    assert not bob.media.associations
    with pytest.raises(CallRejected) as caught:
        await calling
    assert caught.value.status == 488


async def test_lines_made_before_one_failed_are_closed(alice: Ue, bob: Ue) -> None:
    calling = asyncio.create_task(alice.client.call(BOB))
    invitation = await hostile_invitation(bob, 4)
    bound: list[LinePaths] = []

    def bind_two(paths: LinePaths) -> LinePaths:
        bound.append(paths)
        if len(bound) > 2:
            assert paths.paths.rtp is not None
            paths.paths.rtp.close()
            raise TransportError("no more sockets")
        return paths

    bob.media.change = bind_two
    with pytest.raises(DcsdkError, match="no more sockets"):
        await bob.client.answer(invitation)
    with pytest.raises(CallRejected):
        await calling
