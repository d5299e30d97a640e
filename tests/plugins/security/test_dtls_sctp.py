"""The dtls_sctp backend: what it offers, answers, refuses, and which scope it claims."""

from __future__ import annotations

import dataclasses

import pytest

from dcsdk import DataChannels
from dcsdk.errors import FingerprintMismatch, RemoteProtocolError, SecurityError
from dcsdk.ims.profile import DEFAULT_PROFILE
from dcsdk.interfaces import DtlsParameters, MediaIntent, SecurityAnswer, SecurityContext
from dcsdk.plugins.security.dtls_sctp import DtlsSctpBackend
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.sdp.lines import Connection, Origin
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.offer_answer import create_data_channel_media
from dcsdk.sdp.session import SessionDescription
from dcsdk.security import SignallingSecurity
from dcsdk.tls.certificate import Certificate

DCMAP = Dcmap(stream_id=1000, subprotocol="http")
BACKEND = DtlsSctpBackend()
INTENT = DataChannels()


def context() -> SecurityContext:
    return SecurityContext(
        certificate=Certificate.generate(),
        local_address=("127.0.0.1", 4000),
        registered=frozenset(),
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


async def answer_to(
    offer: MediaDescription, ours: SecurityContext, intent: MediaIntent = INTENT
) -> SecurityAnswer:
    read = BACKEND.review(offer, session_of(offer), ours)
    return await BACKEND.answer(read, intent, ours, None)


def get(attributes: tuple[tuple[str, str | None], ...], name: str) -> str | None:
    return dict(attributes).get(name)


@pytest.mark.clause("TS 33.328 7.2.Y step 1", "RFC 8841 10.2", "RFC 8842 5.2")
async def test_an_offer_carries_fingerprint_tls_id_and_setup() -> None:
    ours = context()
    pending = await BACKEND.offer(INTENT, ours, None)
    assert get(pending.attributes, "setup") == "actpass"
    assert get(pending.attributes, "fingerprint") == str(ours.certificate.fingerprint)
    assert len(get(pending.attributes, "tls-id") or "") == 32
    assert len(pending.attributes) == 3, "and nothing that is not of DTLS"


@pytest.mark.clause("TS 33.328 7.3.Y", "RFC 8842 5.3")
async def test_offer_and_answer_agree_on_mirrored_parameters() -> None:
    alice, bob = context(), dataclasses.replace(context(), local_address=("127.0.0.1", 4001))
    pending = await BACKEND.offer(INTENT, alice, None)
    offer = media_of(pending.attributes, 4000)
    answered = await answer_to(offer, bob)
    attributes, theirs = answered.attributes, answered.agreement
    answer = media_of(attributes, 4001)
    agreement = await pending.agree(offer, answer, session_of(answer))
    ours = agreement.parameters
    assert isinstance(ours, DtlsParameters) and isinstance(theirs.parameters, DtlsParameters)
    assert (ours.dtls_role, theirs.parameters.dtls_role) == ("server", "client")
    assert ours.remote_fingerprints == (bob.certificate.fingerprint,)
    assert ours.local_tls_id == theirs.parameters.remote_tls_id
    assert ours.remote_tls_id == theirs.parameters.local_tls_id
    assert agreement.proof == theirs.proof == ""
    assert agreement.renewal is theirs.renewal is None


async def test_a_pinned_fingerprint_proves_e2e_and_is_what_the_handshake_checks() -> None:
    alice, bob = context(), context()
    pinned = DataChannels(pinned_fingerprint=bob.certificate.fingerprint)
    pending = await BACKEND.offer(pinned, alice, None)
    offer = media_of(pending.attributes, 4000)
    attributes = (await answer_to(offer, bob)).attributes
    answer = media_of(attributes, 4001)
    agreement = await pending.agree(offer, answer, session_of(answer))
    assert "pinned" in agreement.proof
    assert isinstance(agreement.parameters, DtlsParameters)
    assert agreement.parameters.remote_fingerprints == (bob.certificate.fingerprint,)


async def test_another_fingerprint_than_the_pinned_one_is_a_mismatch() -> None:
    alice, bob = context(), context()
    pinned = DataChannels(pinned_fingerprint=Certificate.generate().fingerprint)
    pending = await BACKEND.offer(pinned, alice, None)
    offer = media_of(pending.attributes, 4000)
    attributes = (await answer_to(offer, bob)).attributes
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
    ],
)
async def test_an_offer_that_lacks_what_security_rests_on_is_refused(
    missing: str, error: type[Exception]
) -> None:
    pending = await BACKEND.offer(INTENT, context(), None)
    offer = media_of(pending.attributes, 4000).without(missing)
    with pytest.raises(error):
        await answer_to(offer, context())


@pytest.mark.clause("RFC 8842 5.3")
async def test_an_offer_without_tls_id_gets_an_answer_without_when_that_is_allowed() -> None:
    pending = await BACKEND.offer(INTENT, context(), None)
    offer = media_of(pending.attributes, 4000).without("tls-id")
    lenient = dataclasses.replace(
        context(), policy=DEFAULT_PROFILE.line_policy(accept_missing_tls_id=True)
    )
    answer = await answer_to(offer, lenient)
    assert get(answer.attributes, "tls-id") is None
    assert isinstance(answer.agreement.parameters, DtlsParameters)
    assert answer.agreement.parameters.local_tls_id is None
    assert answer.agreement.parameters.remote_tls_id is None


@pytest.mark.clause("RFC 8842 5.5")
async def test_a_later_offer_repeats_the_tls_id_and_a_changed_one_needs_a_new_association() -> None:
    alice, bob = context(), context()
    offer = media_of((await BACKEND.offer(INTENT, alice, None)).attributes, 4000)
    current = (await answer_to(offer, bob)).agreement
    assert isinstance(current.parameters, DtlsParameters)
    again = await BACKEND.offer(INTENT, bob, current)
    assert get(again.attributes, "tls-id") == current.parameters.local_tls_id
    same = BACKEND.review(offer, session_of(offer), bob)
    assert BACKEND.renewal(same, current) is None
    repeated = await BACKEND.answer(same, INTENT, bob, current)
    assert repeated.agreement.parameters == current.parameters
    moved = offer.replacing("tls-id", "n" * 32)
    changed = BACKEND.review(moved, session_of(moved), bob)
    assert "tls-id" in (BACKEND.renewal(changed, current) or "")


@pytest.mark.clause("TS 33.328 7.1.X")
def test_the_only_indication_is_the_experimental_e2dce_token() -> None:
    assert BACKEND.registration_indications(DEFAULT_PROFILE) == ()
    profile = dataclasses.replace(DEFAULT_PROFILE, is_e2dce_indicated=True)
    assert [str(entry) for entry in BACKEND.registration_indications(profile)] == [
        "e2dce-dtls;mediasec"
    ]
