"""Who opens the TCP connection of a line, and whether it is a new one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError, ParseError, RemoteProtocolError
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.connection import (
    DISCARD_PORT,
    ConnectionUse,
    TcpRole,
    agreed_use,
    answered_use,
    check_listening_port,
    decide_tcp_setup,
    offered_use,
    parse_connection_use,
    signalled_port,
    tcp_role,
)

A, P, AP, H = Setup.ACTIVE, Setup.PASSIVE, Setup.ACTPASS, Setup.HOLDCONN
NEW, EXISTING = ConnectionUse.NEW, ConnectionUse.EXISTING

# RFC 4145 4.1: what may answer what.
ALLOWED = {A: {P, H}, P: {A, H}, AP: {A, P, H}, H: {H}}


# --- a=setup --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 4145 4.1")
@pytest.mark.parametrize("offered", list(Setup))
@pytest.mark.parametrize("preferred", [A, P])
@pytest.mark.parametrize("is_held", [False, True])
def test_every_answer_we_make_is_allowed(offered: Setup, preferred: Setup, is_held: bool) -> None:
    answered = decide_tcp_setup(offered, preferred=preferred, is_held=is_held)
    assert answered in ALLOWED[offered]
    assert (answered is H) == (is_held or offered is H)
    if offered is AP and not is_held:
        assert answered is preferred


@pytest.mark.clause("RFC 4145 4")
def test_an_offer_without_setup_is_active_and_answered_passive() -> None:
    assert decide_tcp_setup(None) is P
    assert tcp_role(None, None, is_offerer=True) == "active"
    assert tcp_role(None, None, is_offerer=False) == "passive"


@pytest.mark.clause("RFC 4145 4.1")
@pytest.mark.parametrize(
    ("offered", "answered", "offerer", "answerer"),
    [
        (A, P, "active", "passive"),
        (P, A, "passive", "active"),
        (AP, A, "passive", "active"),
        (AP, P, "active", "passive"),
    ],
)
def test_one_side_opens_the_connection(
    offered: Setup, answered: Setup, offerer: TcpRole, answerer: TcpRole
) -> None:
    assert tcp_role(offered, answered, is_offerer=True) == offerer
    assert tcp_role(offered, answered, is_offerer=False) == answerer


@pytest.mark.clause("RFC 4145 4.1")
@pytest.mark.parametrize("offered", list(Setup))
def test_a_held_connection_is_opened_by_nobody(offered: Setup) -> None:
    assert tcp_role(offered, H, is_offerer=True) is None
    assert tcp_role(offered, H, is_offerer=False) is None


@pytest.mark.clause("RFC 4145 4.1")
@pytest.mark.parametrize("offered", list(Setup))
@pytest.mark.parametrize("answered", list(Setup))
def test_an_answer_that_does_not_fit_is_an_error(offered: Setup, answered: Setup) -> None:
    if answered in ALLOWED[offered]:
        tcp_role(offered, answered, is_offerer=True)
        return
    with pytest.raises(RemoteProtocolError) as caught:
        tcp_role(offered, answered, is_offerer=True)
    assert caught.value.source == "RFC 4145 4.1"


@pytest.mark.clause("RFC 4145 4.1")
def test_an_answer_without_setup_is_passive() -> None:
    with pytest.raises(RemoteProtocolError):
        tcp_role(P, None, is_offerer=True)


def test_an_answer_cannot_be_told_to_say_actpass() -> None:
    with pytest.raises(LocalProtocolError):
        decide_tcp_setup(AP, preferred=AP)


@pytest.mark.clause("RFC 4145 4.1")
def test_a_side_that_does_not_listen_names_port_9() -> None:
    assert [signalled_port(setup, 5000) for setup in (A, P, AP, H)] == [9, 5000, 5000, 9]


@pytest.mark.clause("RFC 4145 4.1")
def test_port_9_is_never_connected_to() -> None:
    check_listening_port(5000)
    with pytest.raises(RemoteProtocolError):
        check_listening_port(DISCARD_PORT)


# --- a=connection ---------------------------------------------------------------------------------
@pytest.mark.clause("RFC 4145 5")
@pytest.mark.parametrize(
    ("is_live", "is_moved", "use"),
    [(False, False, NEW), (False, True, NEW), (True, True, NEW), (True, False, EXISTING)],
)
def test_an_offer_keeps_a_connection_that_works_and_did_not_move(
    is_live: bool, is_moved: bool, use: ConnectionUse
) -> None:
    assert offered_use(is_live=is_live, is_moved=is_moved) is use


@pytest.mark.clause("RFC 4145 5.1")
@pytest.mark.parametrize("offered", [None, NEW])
@pytest.mark.parametrize("is_live", [True, False])
def test_a_new_connection_is_answered_with_a_new_one(
    offered: ConnectionUse | None, is_live: bool
) -> None:
    assert answered_use(offered, is_live=is_live) is NEW


@pytest.mark.clause("RFC 4145 5.2")
def test_existing_in_a_first_offer_is_answered_new() -> None:
    assert answered_use(EXISTING, is_live=False) is NEW
    assert answered_use(EXISTING, is_live=True) is EXISTING


@pytest.mark.clause("RFC 4145 5.1")
@pytest.mark.parametrize(
    ("offered", "answered", "use"),
    [
        (None, None, NEW),
        (NEW, None, NEW),
        (EXISTING, None, NEW),
        (EXISTING, NEW, NEW),
        (EXISTING, EXISTING, EXISTING),
    ],
)
def test_the_answer_decides_and_says_new_when_it_says_nothing(
    offered: ConnectionUse | None, answered: ConnectionUse | None, use: ConnectionUse
) -> None:
    assert agreed_use(offered, answered) is use


@pytest.mark.clause("RFC 4145 5.1")
@pytest.mark.parametrize("offered", [None, NEW])
def test_an_answer_cannot_keep_what_the_offer_gave_up(offered: ConnectionUse | None) -> None:
    with pytest.raises(RemoteProtocolError):
        agreed_use(offered, EXISTING)


@pytest.mark.clause("RFC 4145 5")
def test_values_are_read_without_regard_to_case_and_blanks() -> None:
    assert parse_connection_use(" New ") is NEW
    assert parse_connection_use("existing") is EXISTING


@given(st.text())
def test_any_text_is_a_value_or_a_parse_error(text: str) -> None:
    try:
        use = parse_connection_use(text)
    except ParseError:
        return
    assert parse_connection_use(str(use)) is use
