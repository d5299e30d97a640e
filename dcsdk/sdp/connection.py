"""Who opens the TCP connection of a media line, and when it is a new one (RFC 4145)."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from dcsdk.errors import ParseError, RemoteProtocolError
from dcsdk.sdp.association import decide_setup, dtls_role
from dcsdk.sdp.attributes import Setup

TcpRole = Literal["active", "passive"]
"""Who opens the connection (RFC 4145 4)."""

DISCARD_PORT = 9
"""Stands in ``m=`` where nobody listens (RFC 4145 4.1)."""


class ConnectionUse(StrEnum):
    """The value of ``a=connection`` (RFC 4145 5)."""

    NEW = "new"
    EXISTING = "existing"


def parse_connection_use(value: str) -> ConnectionUse:
    """Read the text after ``a=connection:``.

    Raises:
        ParseError: neither of the two values.
    """
    try:
        return ConnectionUse(value.strip(" ").lower())
    except ValueError as exc:
        raise ParseError(f"unknown a=connection value {value[:16]!r}", source="RFC 4145 5") from exc


# --- who opens it ---------------------------------------------------------------------------------
def decide_tcp_setup(
    offered: Setup | None, *, preferred: Setup = Setup.ACTIVE, is_held: bool = False
) -> Setup:
    """Choose the ``a=setup`` of an answer for a line on TCP.

    Args:
        offered: what the offer says; ``None`` when it says nothing, which means ``active``.
        preferred: ``active`` or ``passive``, used when the offer leaves the choice.
        is_held: we want no connection for now.

    Returns:
        ``active``, ``passive`` or ``holdconn``.

    Raises:
        LocalProtocolError: ``preferred`` is no role.

    Source: RFC 4145 4.1.
    """
    if is_held or offered is Setup.HOLDCONN:
        return Setup.HOLDCONN
    return decide_setup(offered or Setup.ACTIVE, preferred=preferred)


def tcp_role(offered: Setup | None, answered: Setup | None, *, is_offerer: bool) -> TcpRole | None:
    """Return our role once offer and answer are there.

    Args:
        offered: ``a=setup`` of the offer; ``None`` when absent, which means ``active``.
        answered: ``a=setup`` of the answer; ``None`` when absent, which means ``passive``.
        is_offerer: the offer was ours.

    Returns:
        ``None`` when the answer holds the connection: nobody opens it.

    Raises:
        RemoteProtocolError: the answer says ``actpass``, or does not fit the offer.

    Source: RFC 4145 4, 4.1.
    """
    answered = answered or Setup.PASSIVE
    if answered is Setup.HOLDCONN:
        return None
    if answered is Setup.ACTPASS:
        raise RemoteProtocolError("an answer says a=setup:actpass", source="RFC 4145 4.1")
    role = dtls_role(offered or Setup.ACTIVE, answered, is_offerer=is_offerer)
    return "active" if role == "client" else "passive"


def signalled_port(setup: Setup, port: int) -> int:
    """Return the port of our ``m=`` line: 9 where nobody may connect, never 0, which refuses.

    Args:
        setup: as our description says.
        port: where we listen.

    Source: RFC 4145 4.1.
    """
    return port if setup in (Setup.PASSIVE, Setup.ACTPASS) else DISCARD_PORT


def check_listening_port(port: int) -> None:
    """Check the port of a peer that we have to connect to.

    Raises:
        RemoteProtocolError: it is the port of an active side, where nobody listens.

    Source: RFC 4145 4.1.
    """
    if port == DISCARD_PORT:
        raise RemoteProtocolError(
            "the peer is passive and names port 9, where nobody listens", source="RFC 4145 4.1"
        )


# --- a new one, or the one that exists ------------------------------------------------------------
def offered_use(*, is_live: bool, is_moved: bool) -> ConnectionUse:
    """Choose the ``a=connection`` of an offer; written in every one, since absent means ``new``.

    Args:
        is_live: the line has a connection that works.
        is_moved: address or port of our side is another than before.

    Source: RFC 4145 5, 5.1.
    """
    return ConnectionUse.EXISTING if is_live and not is_moved else ConnectionUse.NEW


def answered_use(offered: ConnectionUse | None, *, is_live: bool) -> ConnectionUse:
    """Choose the ``a=connection`` of an answer.

    Args:
        offered: what the offer says; ``None`` when absent, which means ``new``.
        is_live: the line has a connection that works. A first offer may say ``existing`` all the
            same, when a third party put it together.

    Source: RFC 4145 5.1, 5.2.
    """
    return (
        ConnectionUse.EXISTING
        if offered is ConnectionUse.EXISTING and is_live
        else (ConnectionUse.NEW)
    )


def agreed_use(offered: ConnectionUse | None, answered: ConnectionUse | None) -> ConnectionUse:
    """Return what offer and answer lead to.

    With ``existing``, ports, addresses and ``a=setup`` of the exchange mean nothing.

    Args:
        offered: ``a=connection`` of the offer, or ``None``.
        answered: ``a=connection`` of the answer, or ``None``.

    Raises:
        RemoteProtocolError: a new connection was offered, and the answer keeps the old one.

    Source: RFC 4145 5.1.
    """
    result = answered or ConnectionUse.NEW
    if result is ConnectionUse.EXISTING and offered is not ConnectionUse.EXISTING:
        raise RemoteProtocolError(
            "the answer a=connection:existing does not fit the offer a=connection:new",
            source="RFC 4145 5.1",
        )
    return result
