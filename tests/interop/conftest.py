"""Finds the real peers. A missing one is a skip, or a failure where interop was asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import NoReturn

import pytest

from dcsdk.errors import RemoteProtocolError

from .connecting import OFFER_ACTIVE, Way
from .peer_kinds import Fault, Peer, PeerKind

REQUIRED = os.environ.get("DCSDK_INTEROP_REQUIRED") == "1"
"""Set by ``make interop``, which has installed everything."""


def missing(peer: str, how: str) -> NoReturn:
    """Skip the test, or fail it where every peer must be there.

    Args:
        peer: what is not there.
        how: the way to get it.
    """
    reason = f"{peer} is not installed; {how}"
    if REQUIRED:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tshark() -> str:
    """Return the path of tshark."""
    path = shutil.which("tshark")
    if path is None:
        missing("tshark", "run `make interop` as root")
    return path


@pytest.fixture(scope="session")
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    """Run one kind of peer, given as parameter; each test makes connections of its own in it."""
    kind: PeerKind = request.param
    if kind.not_here is not None:
        pytest.skip(kind.not_here)
    program = kind.program()
    if program is None:
        missing(kind.name, kind.how)
    with kind.start(program) as process:
        yield Peer(kind=kind, process=process)


@pytest.fixture
def way(request: pytest.FixtureRequest, peer: Peer) -> Way:
    """Return the way to connect; one that the peer gets wrong is an expected failure."""
    chosen: Way = request.param
    fault = Fault.ACTIVE_TO_ACTIVE
    if chosen is OFFER_ACTIVE and fault in peer.kind.faults:
        reason = f"{peer.kind.name} {fault.value}"
        request.applymarker(pytest.mark.xfail(raises=RemoteProtocolError, reason=reason))
    return chosen
