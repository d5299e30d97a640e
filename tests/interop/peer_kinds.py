"""Which real peers there are, how each is started, and what each cannot do."""

from __future__ import annotations

import ctypes.util
import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from .messages import LARGEST
from .peer_process import PeerProcess

PACKAGES = Path(__file__).parent.parent.parent / ".interop"
"""What ``setup.sh`` installed that is no package of the system."""

NODE_PACKAGES = PACKAGES / "node"
LIBDATACHANNEL_PYTHON = PACKAGES / "libdatachannel" / "bin" / "python"
CHROMIUM = "chromium"


class Fault(Enum):
    """What a peer gets wrong; what cannot be tested for that is an expected failure."""

    ACTIVE_TO_ACTIVE = "answers a=setup:active with active"
    IDS_BY_ICE_ROLE = "numbers channels by its role in ICE, not by that in DTLS (RFC 8832 6)"
    COUNTS_CHARACTERS = "gives the lengths in DCEP in characters, not in octets (RFC 8832 5.1)"
    FORGETS_UNORDERED = "opens an unordered channel with a limit as an ordered one"
    HOLDS_EMPTY = "sends nothing for an empty message, and the stream waits for it for ever"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerKind:
    """One real peer.

    Attributes:
        name: of the stack.
        script: of the peer, in the ``peers`` folder.
        program: finds its interpreter; ``None`` when the peer is not installed.
        how: the way to get it.
        is_ice: it speaks ICE; else plain UDP.
        largest_sent: bytes of the largest message it sends.
        faults: what it gets wrong.
        not_here: why this machine cannot have it, where that is nobody's fault.
    """

    name: str
    script: str
    program: Callable[[], str | None]
    how: str = "run `make interop` as root"
    is_ice: bool = True
    largest_sent: int = LARGEST
    faults: frozenset[Fault] = frozenset()
    not_here: str | None = None

    def start(self, program: str) -> PeerProcess:
        """Start the peer.

        Args:
            program: what :attr:`program` found.
        """
        environment = {"DCSDK_INTEROP_NODE": str(NODE_PACKAGES)}
        chromium = shutil.which(CHROMIUM)
        if chromium is not None:
            environment["DCSDK_INTEROP_CHROMIUM"] = chromium
        return PeerProcess(program, self.script, environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A real peer that runs."""

    kind: PeerKind
    process: PeerProcess


def _node_package(name: str) -> Callable[[], str | None]:
    def find() -> str | None:
        is_there = (NODE_PACKAGES / "node_modules" / name).is_dir()
        return shutil.which("node") if is_there else None

    return find


def _python_module(name: str) -> Callable[[], str | None]:
    return lambda: sys.executable if importlib.util.find_spec(name) is not None else None


def _chromium() -> str | None:
    return _node_package("playwright-core")() if shutil.which(CHROMIUM) else None


def _usrsctp() -> str | None:
    return sys.executable if ctypes.util.find_library("usrsctp") else None


def _libdatachannel() -> str | None:
    return str(LIBDATACHANNEL_PYTHON) if LIBDATACHANNEL_PYTHON.exists() else None


def _why_no_libdatachannel() -> str | None:
    if _libdatachannel() is not None or sys.version_info >= (3, 12):
        return None
    found = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"libdatachannel-py is made for Python 3.12 or newer; this is {found}"


AIORTC = PeerKind(
    name="aiortc",
    script="aiortc_ice.py",
    program=_python_module("aiortc"),
    how="pip install aiortc",
    faults=frozenset({Fault.COUNTS_CHARACTERS}),
)
NODE_DATACHANNEL = PeerKind(
    name="node-datachannel",
    script="node_datachannel.mjs",
    program=_node_package("node-datachannel"),
)
WERIFT = PeerKind(
    name="werift",
    script="werift.mjs",
    program=_node_package("werift"),
    faults=frozenset(
        {
            Fault.ACTIVE_TO_ACTIVE,
            Fault.IDS_BY_ICE_ROLE,
            Fault.COUNTS_CHARACTERS,
            Fault.FORGETS_UNORDERED,
            Fault.HOLDS_EMPTY,
        }
    ),
)
LIBDATACHANNEL = PeerKind(
    name="libdatachannel-py",
    script="libdatachannel_peer.py",
    program=_libdatachannel,
    not_here=_why_no_libdatachannel(),
)
CHROMIUM_PEER = PeerKind(
    name="chromium",
    script="chromium.mjs",
    program=_chromium,
    largest_sent=262_144,
)
USRSCTP = PeerKind(
    name="usrsctp",
    script="usrsctp_peer.py",
    program=_usrsctp,
    is_ice=False,
)

KINDS = (AIORTC, NODE_DATACHANNEL, WERIFT, LIBDATACHANNEL, CHROMIUM_PEER, USRSCTP)
