"""The dtls_sctp backend: what it offers, answers, refuses, and which scope it claims."""

from __future__ import annotations

import dataclasses

import pytest

from dcsdk.errors import ConfigError, FingerprintMismatch, RemoteProtocolError, SecurityError
from dcsdk.ims.profile import DEFAULT_PROFILE
from dcsdk.interfaces import MediaIntent, SecurityContext
from dcsdk.plugins.security.dtls_sctp import DtlsSctpBackend
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.sdp.lines import Connection, Origin
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.offer_answer import create_data_channel_media
from dcsdk.sdp.session import SessionDescription
from dcsdk.security import SecurityScope, SignallingSecurity
from dcsdk.tls.certificate import Certificate

DCMAP = Dcmap(stream_id=1000, subprotocol="http")
BACKEND = DtlsSctpBackend()


def context(*, is_e2dce_registered: bool = False) -> SecurityContext:
    return SecurityContext(
        certificate=Certificate.generate(),
        local_address=("127.0.0.1", 4000),
        is_e2dce_registered=is_e2dce_registered,
        signalling=SignallingSecurity.TLS,
        policy=DEFAULT_PROFILE.line_policy(),
        profile=DEFAULT_PROFILE,
    )


def media_of(attributes: tuple[tuple[str, str | None], ...], port: int) -> MediaDescription:
    return create_data_channel_media(
        address=("127.0.0.1", port), attributes=attributes, dcmaps=[DCMAP]
    )


def session_of(media: MediaDescription) -> SessionDescription:
    return SessionDescription.create(
        origin=Origin.create(session_id=1, version=1, address="127.0.0.1"),
        connection=Connection.create("127.0.0.1"),
        media=[media],
    )


def get(attributes: tuple[tuple[str, str | None], ...], name: str) -> str | None:
    return dict(attributes).get(name)


@pytest.mark.clause("TS 33.328 7.2.Y step 1", "RFC 8841 10.2", "RFC 8842 5.2")
async def test_an_offer_carries_fingerprint_tls_id_setup_and_sctp_port() -> None:
    ours = context()
    pending = await BACKEND.offer(MediaIntent(kind="dc"), ours)
    assert get(pending.attributes, "setup") == "actpass"
    assert get(pending.attributes, "fingerprint") == str(ours.certificate.fingerprint)
    assert len(get(pending.attributes, "tls-id") or "") == 32
    assert get(pending.attributes, "sctp-port") == "5000"
    assert get(pending.attributes, "3ge2dce") is None


@pytest.mark.clause("TS 33.328 7.2.X step 1")
async def test_e2dce_adds_the_indication_when_both_sides_registered_it() -> None:
    intent = MediaIntent(kind="dc", scope=SecurityScope.E2DCE)
    pending = await BACKEND.offer(intent, context(is_e2dce_registered=True))
    assert get(pending.attributes, "3ge2dce") == "requested"


@pytest.mark.clause("TS 33.328 7.2.X NOTE 2")
async def test_e2dce_without_registration_is_refused_before_anything_is_sent() -> None:
    intent = MediaIntent(kind="dc", scope=SecurityScope.E2DCE)
    with pytest.raises(ConfigError, match="did not both register"):
        await BACKEND.offer(intent, context())


@pytest.mark.clause("TS 33.328 7.3.Y", "RFC 8842 5.3")
async def test_offer_and_answer_agree_on_mirrored_parameters() -> None:
    alice, bob = context(), dataclasses.replace(context(), local_address=("127.0.0.1", 4001))
    pending = await BACKEND.offer(MediaIntent(kind="dc"), alice)
    offer = media_of(pending.attributes, 4000)
    attributes, theirs = await BACKEND.answer(offer, session_of(offer), MediaIntent(kind="dc"), bob)
    answer = media_of(attributes, 4001)
    agreement = await pending.agree(offer, answer, session_of(answer))
    ours = agreement.parameters
    assert (ours.dtls_role, theirs.parameters.dtls_role) == ("server", "client")
    assert ours.remote_address == ("127.0.0.1", 4001)
    assert ours.remote_fingerprints == (bob.certificate.fingerprint,)
    assert ours.local_tls_id == theirs.parameters.remote_tls_id
    assert ours.remote_tls_id == theirs.parameters.local_tls_id
    assert agreement.scope is theirs.scope is SecurityScope.NETWORK_DECIDES


@pytest.mark.clause("TS 33.328 7.2.X NOTE 3")
async def test_registration_and_request_conclude_e2dce() -> None:
    alice = context(is_e2dce_registered=True)
    pending = await BACKEND.offer(MediaIntent(kind="dc", scope=SecurityScope.E2DCE), alice)
    offer = media_of(pending.attributes, 4000)
    attributes, _ = await BACKEND.answer(offer, session_of(offer), MediaIntent(kind="dc"), alice)
    answer = media_of(attributes, 4001)
    agreement = await pending.agree(offer, answer, session_of(answer))
    assert agreement.scope is SecurityScope.E2DCE


@pytest.mark.clause("TS 33.328 7.3.X", "E9")
@pytest.mark.parametrize(
    ("registered", "scope"),
    [(True, SecurityScope.E2DCE), (False, SecurityScope.NETWORK_DECIDES)],
)
async def test_applied_counts_only_from_a_network_that_registered(
    registered: bool, scope: SecurityScope
) -> None:
    pending = await BACKEND.offer(MediaIntent(kind="dc"), context())
    offer = media_of((*pending.attributes, ("3ge2dce", "applied")), 4000)
    _, agreement = await BACKEND.answer(
        offer,
        session_of(offer),
        MediaIntent(kind="dc"),
        context(is_e2dce_registered=registered),
    )
    assert agreement.scope is scope


async def test_a_pinned_fingerprint_proves_e2e_and_is_what_the_handshake_checks() -> None:
    alice, bob = context(), context()
    pinned = MediaIntent(kind="dc", pinned_fingerprint=bob.certificate.fingerprint)
    pending = await BACKEND.offer(pinned, alice)
    offer = media_of(pending.attributes, 4000)
    attributes, _ = await BACKEND.answer(offer, session_of(offer), MediaIntent(kind="dc"), bob)
    answer = media_of(attributes, 4001)
    agreement = await pending.agree(offer, answer, session_of(answer))
    assert agreement.scope is SecurityScope.E2E
    assert agreement.parameters.remote_fingerprints == (bob.certificate.fingerprint,)


async def test_another_fingerprint_than_the_pinned_one_is_a_mismatch() -> None:
    alice, bob = context(), context()
    pinned = MediaIntent(kind="dc", pinned_fingerprint=Certificate.generate().fingerprint)
    pending = await BACKEND.offer(pinned, alice)
    offer = media_of(pending.attributes, 4000)
    attributes, _ = await BACKEND.answer(offer, session_of(offer), MediaIntent(kind="dc"), bob)
    answer = media_of(attributes, 4001)
    with pytest.raises(FingerprintMismatch, match="pinned"):
        await pending.agree(offer, answer, session_of(answer))


@pytest.mark.clause("E7")
@pytest.mark.parametrize(
    ("missing", "error"),
    [
        ("fingerprint", SecurityError),
        ("setup", RemoteProtocolError),
        ("tls-id", RemoteProtocolError),
        ("sctp-port", RemoteProtocolError),
    ],
)
async def test_an_offer_that_lacks_what_security_rests_on_is_refused(
    missing: str, error: type[Exception]
) -> None:
    pending = await BACKEND.offer(MediaIntent(kind="dc"), context())
    offer = media_of(pending.attributes, 4000).without(missing)
    with pytest.raises(error):
        await BACKEND.answer(offer, session_of(offer), MediaIntent(kind="dc"), context())


@pytest.mark.clause("RFC 8842 5.3")
async def test_an_offer_without_tls_id_gets_an_answer_without_when_that_is_allowed() -> None:
    pending = await BACKEND.offer(MediaIntent(kind="dc"), context())
    offer = media_of(pending.attributes, 4000).without("tls-id")
    lenient = dataclasses.replace(
        context(), policy=DEFAULT_PROFILE.line_policy(accept_missing_tls_id=True)
    )
    attributes, agreement = await BACKEND.answer(
        offer, session_of(offer), MediaIntent(kind="dc"), lenient
    )
    assert get(attributes, "tls-id") is None
    assert agreement.parameters.local_tls_id is agreement.parameters.remote_tls_id is None


@pytest.mark.clause("RFC 8841 9.3", "E14")
async def test_a_line_that_ends_cannot_be_answered() -> None:
    pending = await BACKEND.offer(MediaIntent(kind="dc"), context())
    offer = media_of(pending.attributes, 0)
    with pytest.raises(RemoteProtocolError):
        await BACKEND.answer(offer, session_of(offer), MediaIntent(kind="dc"), context())


@pytest.mark.clause("TS 33.328 7.1.X")
def test_the_only_indication_is_the_experimental_e2dce_token() -> None:
    assert [str(entry) for entry in BACKEND.registration_indications(DEFAULT_PROFILE)] == [
        "e2dce-dtls;mediasec"
    ]
