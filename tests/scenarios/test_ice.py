"""Calls of UEs that run ICE, where the other end does too and where it does not (limit D7)."""

from __future__ import annotations

import pytest

from dcsdk.emulator import Network
from tests.scenarios.calls import a_call, a_channel, line_of, messages, talk
from tests.scenarios.conftest import MakeUe


@pytest.mark.clause("D7", "RFC 8445", "RFC 8839 4.2")
@pytest.mark.parametrize(
    ("alices", "bobs"), [("full", "full"), ("full", "lite"), ("full", "off"), ("off", "full")]
)
async def test_media_comes_up_whoever_runs_ice(
    ims_network: Network, make_ue: MakeUe, alices: str, bobs: str
) -> None:
    alice, bob = await make_ue("alice", ice=alices), await make_ue("bob", ice=bobs)
    async with a_call(alice, bob) as (session, answered):
        assert await session.bootstrap.applications(), "the DCMF runs none"
        await talk(*await a_channel(session, answered))
        await talk(*await a_channel(answered, session))
        offer = next(messages(ims_network, "alice", "P-CSCF", "INVITE"))
        assert line_of(offer).has("ice-ufrag") == (alices != "off")
