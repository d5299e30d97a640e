"""Registration through the emulated P-CSCF and S-CSCF."""

from __future__ import annotations

import pytest

from dcsdk.ims.feature_tags import FeatureCaps
from dcsdk.sip.syntax.message import Request
from dcsdk.sip.syntax.parser import parse_message
from tests.emulator.conftest import SmallNetwork, small_network
from tests.emulator.raw_ue import RawUe

E2DCE = ("Security-Client", "e2dce-dtls;mediasec")


def behind_the_pcscf(network: SmallNetwork, method: str) -> list[Request]:
    """Requests that the P-CSCF sent to the S-CSCF."""
    found = [
        parse_message(event.data)
        for event in network.bus
        if event.source == "P-CSCF" and event.destination == "S-CSCF" and event.summary == method
    ]
    return [message for message in found if isinstance(message, Request)]


@pytest.mark.clause("TS 24.229 5.4.1.2")
async def test_a_user_registers_and_learns_all_it_needs(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        challenge = await alice.send(alice.register_request(E2DCE))
        assert challenge.status == 401
        algorithms = challenge.headers.get_all("WWW-Authenticate")
        assert ["SHA-256" in algorithms[0], "MD5" in algorithms[1]] == [True, True]
        response = await alice.register(E2DCE)
        assert response.status == 200
        assert FeatureCaps.parse(response.headers.get_all("Feature-Caps")).has("g.3gpp.datachannel")
        assert [str(item.uri) for item in response.name_addrs("P-Associated-URI")] == [
            "sip:alice@ims.example",
            "tel:+495",
        ]
        assert response.contacts[0].param("expires") in ("3600", "3599")
        assert "orig@" in (response.headers.get("Service-Route") or "")
        assert response.headers.get_all("Security-Server") == ["e2dce-dtls;mediasec"]
        assert "rspauth" in (response.headers.get("Authentication-Info") or "")
        (binding,) = network.hss.bindings("tel:+495", now=0)
        assert "sip.app-subtype" in binding.contact


@pytest.mark.clause("TS 24.229 7.2A.7")
@pytest.mark.clause("TS 33.328 7.1.X")
async def test_mediasec_is_answered_in_401_and_200_and_never_goes_upstream(
    network: SmallNetwork,
) -> None:
    async with RawUe("alice", network.address) as alice:
        client = ("Security-Client", "sdes-srtp;mediasec, e2dce-dtls;mediasec, ipsec-3gpp;alg=null")
        challenge = await alice.send(alice.register_request(client))
        assert challenge.headers.get_all("Security-Server") == ["e2dce-dtls;mediasec"]
        response = await alice.register(client)
        assert response.headers.get_all("Security-Server") == ["e2dce-dtls;mediasec"]
        token = network.pcscf.bindings.token_of("sip:alice@ims.example", str(alice.contact))
        binding = network.pcscf.bindings.by_token(token or "", now=0)
        assert binding is not None
        assert binding.agreed == {"e2dce-dtls"}
    upstream = behind_the_pcscf(network, "REGISTER")
    assert len(upstream) == 3
    for request in upstream:
        assert request.headers.get_all("Security-Client") == ["ipsec-3gpp;alg=null"]
        assert "Security-Verify" not in request.headers
        assert "mediasec" not in str(list(request.headers))
        assert request.headers.get("Path") is not None


async def test_a_user_that_lists_nothing_is_told_nothing(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        response = await alice.register()
        assert response.status == 200
        assert "Security-Server" not in response.headers


@pytest.mark.clause("E1")
async def test_a_network_without_mediasec_says_nothing() -> None:
    async with (
        small_network(faults=frozenset({"E1"})) as network,
        RawUe("alice", network.address) as alice,
    ):
        response = await alice.register(E2DCE)
        assert response.status == 200
        assert "Security-Server" not in response.headers


@pytest.mark.clause("E15")
async def test_a_network_without_data_channels_says_nothing_of_them() -> None:
    async with (
        small_network(faults=frozenset({"E15"})) as network,
        RawUe("alice", network.address) as alice,
    ):
        response = await alice.register()
        assert response.status == 200
        assert "Feature-Caps" not in response.headers


@pytest.mark.clause("E4")
@pytest.mark.clause("RFC 3329 2.3.1")
@pytest.mark.parametrize("verify", ["sdes-srtp;mediasec", "e2dce-dtls;mediasec;q=0.1"])
async def test_an_echo_that_differs_from_the_list_is_refused_with_the_list(
    network: SmallNetwork, verify: str
) -> None:
    async with RawUe("alice", network.address) as alice:
        response = await alice.register(E2DCE, ("Security-Verify", verify), verify=False)
        assert response.status == 494
        assert response.headers.get_all("Security-Server") == ["e2dce-dtls;mediasec"]


@pytest.mark.clause("E4")
async def test_a_list_cut_out_on_the_way_shows_in_the_missing_echo(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        assert (await alice.register(E2DCE, verify=False)).status == 494


@pytest.mark.clause("TS 33.203 7.2")
async def test_the_list_of_the_user_must_not_change_between_the_two_registers(
    network: SmallNetwork,
) -> None:
    async with RawUe("alice", network.address) as alice:
        await alice.send(alice.register_request(E2DCE))
        credentials = (
            'Digest username="alice@ims.example", realm="ims.example", nonce="n", response="1",'
            ' uri="sip:ims.example"'
        )
        changed = alice.register_request(
            ("Security-Client", "sdes-srtp;mediasec"), ("Authorization", credentials)
        )
        assert (await alice.send(changed)).status == 403


@pytest.mark.clause("RFC 3261 16.3")
async def test_an_extension_required_of_a_proxy_is_refused(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        response = await alice.register(("Proxy-Require", "mediasec"))
        assert (response.status, response.headers.get("Unsupported")) == (420, "mediasec")
        response = await alice.register(("Require", "outbound"))
        assert (response.status, response.headers.get("Unsupported")) == (420, "outbound")


@pytest.mark.clause("TS 24.229 5.4.1.2.3")
@pytest.mark.parametrize(("name", "password"), [("alice", "wrong"), ("mallory", "x")])
async def test_a_wrong_password_and_an_unknown_user_are_forbidden(
    network: SmallNetwork, name: str, password: str
) -> None:
    async with RawUe(name, network.address, password=password) as ue:
        assert (await ue.register()).status == 403


async def test_nobody_registers_somebody_else(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        response = await alice.register(identity="sip:roberta@ims.example")
        assert response.status == 403


@pytest.mark.clause("RFC 3261 10.2.8")
async def test_a_brief_registration_is_refused_with_the_least_lifetime(
    network: SmallNetwork,
) -> None:
    async with RawUe("alice", network.address) as alice:
        response = await alice.register(expires=10)
        assert (response.status, response.headers.get("Min-Expires")) == (423, "60")


async def test_a_long_registration_is_shortened(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        response = await alice.register(expires=10_000_000)
        assert int(response.contacts[0].param("expires") or 0) in (600_000, 599_999)


async def test_without_a_lifetime_the_expires_header_or_the_longest_counts(
    network: SmallNetwork,
) -> None:
    async with RawUe("alice", network.address) as alice:
        contact = ("Contact", f"<{alice.contact}>")
        response = await alice.register(contact, ("Expires", "120"))
        assert response.contacts[0].param("expires") == "120"
        response = await alice.register(contact)
        assert response.contacts[0].param("expires") == "600000"


@pytest.mark.clause("RFC 3261 10.2.2")
async def test_deregistering_forgets_what_was_agreed(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        await alice.register(E2DCE)
        assert len(network.pcscf.bindings) == 1
        response = await alice.register(E2DCE, expires=0)
        assert response.status == 200 and response.contacts == ()
        assert len(network.pcscf.bindings) == 0
        assert network.hss.bindings("sip:alice@ims.example", now=0) == ()


async def test_all_contacts_are_removed_by_a_star(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        await alice.register()
        response = await alice.register(("Contact", "*"))
        assert response.status == 400
        response = await alice.register(("Contact", "*"), ("Expires", "0"))
        assert response.status == 200
        assert network.hss.bindings("sip:alice@ims.example", now=0) == ()


async def test_a_register_without_contact_only_asks(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        await alice.register()
        request = alice.register_request()
        request.headers.remove("Contact")
        authorization = alice.digest.reauthorize(
            method="REGISTER", uri="sip:ims.example", cnonce="abc"
        )
        request.headers.set("Authorization", authorization or "")
        response = await alice.send(request)
        assert response.status == 200 and len(response.contacts) == 1


@pytest.mark.clause("RFC 3261 10.3")
async def test_a_register_out_of_order_changes_nothing(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        await alice.register()
        request = alice.register_request(expires=0)
        request.headers.set("CSeq", "1 REGISTER")
        authorization = alice.digest.reauthorize(
            method="REGISTER", uri="sip:ims.example", cnonce="abc"
        )
        request.headers.set("Authorization", authorization or "")
        assert (await alice.send(request)).status == 500
        assert len(network.hss.bindings("sip:alice@ims.example", now=0)) == 1


@pytest.mark.clause("RFC 7616 3.3")
async def test_a_nonce_used_twice_is_stale(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        challenge = await alice.send(alice.register_request())
        authorization = alice.digest.authorize(
            challenge.headers.get_all("WWW-Authenticate"),
            method="REGISTER",
            uri="sip:ims.example",
            cnonce="abc",
        )
        header = ("Authorization", authorization)
        assert (await alice.send(alice.register_request(header))).status == 200
        response = await alice.send(alice.register_request(header))
        assert response.status == 401
        assert "stale=true" in (response.headers.get("WWW-Authenticate") or "").lower()


@pytest.mark.clause("TS 24.229 5.2.2")
async def test_what_only_a_pcscf_may_say_is_taken_out(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        empty = (
            'Digest username="alice@ims.example", realm="ims.example", nonce="", response="",'
            ' uri="sip:ims.example", integrity-protected="yes"'
        )
        await alice.send(alice.register_request(("Authorization", empty)))
        (request,) = behind_the_pcscf(network, "REGISTER")
        assert "integrity-protected" not in (request.headers.get("Authorization") or "")


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", "Digest username"),
        ("Authorization", 'Digest integrity-protected="yes'),
        ("Security-Client", ";;;"),
        ("Contact", "<sip:"),
        ("Contact", ", ".join(f"<sip:a@127.0.0.1:{port}>" for port in range(1, 12))),
    ],
)
async def test_a_register_that_cannot_be_read_is_a_bad_request(
    network: SmallNetwork, header: tuple[str, str]
) -> None:
    async with RawUe("alice", network.address) as alice:
        response = await alice.register(header)
        assert response.status == 400


@pytest.mark.parametrize(
    ("fault", "status"), [("401-loop", 401), ("403", 403), ("423", 423), ("494", 494), ("E19", 420)]
)
async def test_a_fault_refuses_every_register(fault: str, status: int) -> None:
    async with (
        small_network(faults=frozenset({fault})) as network,
        RawUe("alice", network.address) as alice,
    ):
        assert (await alice.register(E2DCE)).status == status


@pytest.mark.clause("E3")
async def test_fault_e3_refuses_once_with_the_list() -> None:
    async with (
        small_network(faults=frozenset({"E3"})) as network,
        RawUe("alice", network.address) as alice,
    ):
        response = await alice.register(E2DCE)
        assert response.status == 494
        assert response.headers.get_all("Security-Server") == ["e2dce-dtls;mediasec"]
        assert (await alice.register(E2DCE)).status == 200


@pytest.mark.clause("E4")
async def test_fault_e4_changes_the_list_so_that_the_honest_echo_is_refused() -> None:
    async with (
        small_network(faults=frozenset({"E4"})) as network,
        RawUe("alice", network.address) as alice,
    ):
        response = await alice.register(E2DCE)
        assert response.status == 494
        assert response.headers.get_all("Security-Server") == ["tampered;mediasec"]


async def test_a_database_that_cannot_answer_is_a_server_error(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        network.hss.close()
        assert (await alice.register()).status == 500


async def test_a_full_pcscf_refuses_one_more_contact(
    network: SmallNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcsdk.emulator.access.bindings.MAX_BINDINGS", 1)
    async with (
        RawUe("alice", network.address) as alice,
        RawUe("roberta", network.address) as roberta,
    ):
        assert (await alice.register()).status == 200
        assert (await roberta.register()).status == 503
