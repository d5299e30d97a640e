"""Roles by ``a=setup`` and the rule of a new DTLS association."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dcsdk.errors import LocalProtocolError, RemoteProtocolError
from dcsdk.sdp.association import (
    AssociationIdentity,
    DtlsSide,
    decide_setup,
    dtls_role,
    new_association_reason,
)
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.fingerprint import Fingerprint
from tests.sdp.vectors import FP_B, FP_DCMF, TLS_ID_A, TLS_ID_B

A, P, AP, H = Setup.ACTIVE, Setup.PASSIVE, Setup.ACTPASS, Setup.HOLDCONN


@pytest.mark.clause("RFC 8842 5.3")
def test_an_answer_is_active_unless_told_otherwise() -> None:
    assert decide_setup(AP) is A
    assert decide_setup(AP, preferred=P) is P
    assert decide_setup(A, preferred=A) is P
    assert decide_setup(P, preferred=P) is A


@pytest.mark.clause("RFC 8842 5.5")
def test_the_role_in_force_is_kept_whatever_is_preferred() -> None:
    assert decide_setup(AP, preferred=A, in_force=P) is P


@pytest.mark.clause("RFC 8842 5.1")
def test_holdconn_in_an_offer_is_refused() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decide_setup(H)
    assert caught.value.sip_status_hint == 488


def test_an_answer_cannot_be_told_to_say_actpass() -> None:
    with pytest.raises(LocalProtocolError):
        decide_setup(AP, preferred=AP)


@pytest.mark.clause("RFC 8842 5.3")
@pytest.mark.parametrize(
    ("offered", "answered", "offerer", "answerer"),
    [
        (AP, A, "server", "client"),
        (AP, P, "client", "server"),
        (A, P, "client", "server"),
        (P, A, "server", "client"),
    ],
)
def test_roles_follow_from_offer_and_answer(
    offered: Setup, answered: Setup, offerer: str, answerer: str
) -> None:
    assert dtls_role(offered, answered, is_offerer=True) == offerer
    assert dtls_role(offered, answered, is_offerer=False) == answerer


@pytest.mark.clause("E12")
@pytest.mark.parametrize(
    ("offered", "answered"), [(AP, AP), (AP, H), (A, A), (P, P), (A, AP), (H, A)]
)
def test_an_answer_that_does_not_fit_is_an_error(offered: Setup, answered: Setup) -> None:
    with pytest.raises(RemoteProtocolError):
        dtls_role(offered, answered, is_offerer=True)


def side(tls_id: str | None, *fingerprints: str, port: int = 5000) -> DtlsSide:
    return DtlsSide(
        tls_id=tls_id,
        fingerprints=frozenset(map(Fingerprint.parse, fingerprints)),
        address=("192.0.2.10", port),
    )


OLD = AssociationIdentity(dtls_role="client", remote=side(TLS_ID_B, FP_B))


@pytest.mark.clause("RFC 8842 3.1")
def test_a_repeated_description_keeps_the_association() -> None:
    assert new_association_reason(OLD, replace(OLD)) is None
    moved = replace(OLD, remote=side(TLS_ID_B, FP_B, port=6000))
    assert new_association_reason(OLD, moved) is None, "the tls-id holds across a change of address"


@pytest.mark.clause("RFC 8842 3.1", "E13", "D13")
@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (replace(OLD, dtls_role="server"), "roles"),
        (replace(OLD, remote=side(TLS_ID_A, FP_B)), "peer's tls-id"),
        (replace(OLD, remote=side(TLS_ID_B, FP_DCMF)), "peer's set of fingerprints"),
        (replace(OLD, remote=side(TLS_ID_B, FP_B, FP_DCMF)), "peer's set of fingerprints"),
        (replace(OLD, remote=side(None, FP_B)), "peer's tls-id"),
    ],
)
def test_a_change_means_a_new_association(new: AssociationIdentity, reason: str) -> None:
    assert reason in (new_association_reason(OLD, new) or "")


@pytest.mark.clause("RFC 8842 3.1")
def test_without_a_tls_id_a_new_address_means_a_new_association() -> None:
    old = replace(OLD, remote=side(None, FP_B))
    assert new_association_reason(old, old) is None
    assert new_association_reason(old, replace(old, remote=side(None, FP_B, port=6000)))
