"""Registration: what UE and network say they support (TS 33.328 7.1, TS 24.229 5.1.1)."""

from __future__ import annotations

import pytest

from dcsdk import (
    LocalProtocolError,
    RegistrationChanged,
    RegistrationFailed,
    Secret,
    SecurityScope,
    SignallingSecurity,
)
from dcsdk.emulator import Network
from tests.scenarios.calls import Ue, headers_of, messages, network_with
from tests.scenarios.conftest import MakeUe


@pytest.mark.clause("TS 33.328 7.1.X", "TS 24.229 5.1.1.2", "RFC 3329 2.3")
async def test_e2dce_is_named_by_exactly_one_token_in_all_three_headers(
    ims_network: Network, alice: Ue
) -> None:
    first, second = messages(ims_network, "alice", "P-CSCF", "REGISTER")
    challenge, granted = messages(ims_network, "P-CSCF", "alice")
    assert headers_of(first, "Security-Client") == ["e2dce-dtls;mediasec"]
    assert headers_of(challenge, "Security-Server") == ["e2dce-dtls;mediasec"]
    assert headers_of(second, "Security-Verify") == ["e2dce-dtls;mediasec"]
    assert headers_of(second, "Security-Client") == ["e2dce-dtls;mediasec"]
    assert "+g.3gpp.datachannel" in headers_of(granted, "Feature-Caps")[0]
    assert '+sip.app-subtype="webrtc-datachannel"' in headers_of(second, "Contact")[0]


@pytest.mark.clause("TS 33.328 7.1", "TS 23.228 AC.2")
async def test_registration_tells_what_both_sides_support(alice: Ue) -> None:
    registration = alice.client.registration
    assert registration is not None
    assert registration.capabilities.is_agreed("data_channel", SecurityScope.E2DCE)
    assert not registration.capabilities.is_agreed("data_channel", SecurityScope.E2AE)
    assert registration.capabilities.data_channel.is_agreed
    assert registration.public_identities[0] == "sip:alice@ims.example"
    assert registration.grant.signalling is SignallingSecurity.TLS
    assert registration.expires_s == 600_000
    (changed,) = alice.told(RegistrationChanged)
    assert changed.capabilities == registration.capabilities


@pytest.mark.clause("TS 33.328 7.1.X")
@network_with(e2dce_tokens=False)
async def test_without_e2dce_tokens_the_ue_lists_nothing(ims_network: Network, alice: Ue) -> None:
    for request in messages(ims_network, "alice", "P-CSCF", "REGISTER"):
        assert not any(headers_of(request, "Security-Client"))
        assert not headers_of(request, "Security-Verify")
    registration = alice.client.registration
    assert registration is not None
    assert not any(row.is_ue or row.is_network for row in registration.capabilities.media)


@pytest.mark.clause("TS 24.229 5.1.1.6")
async def test_deregistration_removes_the_binding_once(ims_network: Network, alice: Ue) -> None:
    registration = alice.client.registration
    assert registration is not None
    await registration.deregister()
    await registration.deregister()
    assert alice.client.registration is None
    requests = list(messages(ims_network, "alice", "P-CSCF", "REGISTER"))
    assert [
        headers_of(item, "Expires") or "0" in headers_of(item, "Contact")[0] for item in requests
    ]
    assert len(requests) == 3
    with pytest.raises(LocalProtocolError, match="not registered"):
        await alice.client.call("sip:bob@ims.example")


async def test_a_client_can_register_again_after_leaving(alice: Ue) -> None:
    await alice.client.deregister()
    registration = await alice.client.register()
    assert registration.capabilities.data_channel.is_agreed


@pytest.mark.clause("TS 33.203 N.2.1.2")
async def test_wrong_password_is_refused(make_ue: MakeUe) -> None:
    ue = await make_ue("alice", register=False, password=Secret("wrong"))
    with pytest.raises(RegistrationFailed) as caught:
        await ue.client.register()
    assert caught.value.status in (401, 403)
    assert "wrong" not in str(caught.value).replace("is wrong", "")
    assert ue.client.registration is None


@pytest.mark.clause("E1")
@network_with("E1")
async def test_network_without_mediasec_agrees_nothing(alice: Ue) -> None:
    registration = alice.client.registration
    assert registration is not None
    assert not registration.capabilities.is_agreed("data_channel", SecurityScope.E2DCE)


@pytest.mark.clause("E3", "RFC 3329 2.3.1")
@network_with("E3")
async def test_494_once_is_answered_with_the_new_list(ims_network: Network, alice: Ue) -> None:
    assert alice.client.registration is not None
    assert [event.summary for event in messages(ims_network, "P-CSCF", "alice")][-1].startswith(
        "200"
    )
    assert list(messages(ims_network, "P-CSCF", "alice", "494"))


@pytest.mark.clause("E19")
@network_with("E19")
async def test_420_of_a_core_without_mediasec(make_ue: MakeUe) -> None:
    ue = await make_ue("alice", register=False)
    with pytest.raises(RegistrationFailed) as caught:
        await ue.client.register()
    assert caught.value.status == 420
