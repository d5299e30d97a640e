"""A small network: P-CSCF, S-CSCF and HSS, without application server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from dcsdk.emulator.hss import Hss, Subscriber
from dcsdk.emulator.pcscf import Pcscf
from dcsdk.emulator.scscf import Scscf
from dcsdk.emulator.trace import TraceBus
from dcsdk.interfaces import Address
from dcsdk.security import Secret


@dataclass
class SmallNetwork:
    """What a test of the CSCFs needs."""

    bus: TraceBus
    hss: Hss
    scscf: Scscf
    pcscf: Pcscf
    address: Address


def subscriber(name: str, *, dc_allowed: bool = True) -> Subscriber:
    """A subscriber of ims.example whose password is ``<name>-password``."""
    return Subscriber(
        private_identity=f"{name}@ims.example",
        password=Secret(f"{name}-password"),
        public_identities=(f"sip:{name}@ims.example", f"tel:+49{len(name)}"),
        dc_allowed=dc_allowed,
    )


@asynccontextmanager
async def small_network(
    *, faults: frozenset[str] = frozenset(), is_e2dce_supported: bool = True
) -> AsyncIterator[SmallNetwork]:
    """Start P-CSCF and S-CSCF on loopback; alice and roberta are subscribers."""
    bus, hss = TraceBus(), Hss()
    for name in ("alice", "roberta"):
        hss.add_subscriber(subscriber(name))
    scscf = Scscf(bus, hss=hss, home_domain="ims.example", faults=faults)
    registrar = await scscf.start("127.0.0.1")
    pcscf = Pcscf(bus, registrar=registrar, is_e2dce_supported=is_e2dce_supported, faults=faults)
    try:
        await pcscf.start("127.0.0.1")
        address = await pcscf.listen("tcp", "127.0.0.1")
        yield SmallNetwork(bus, hss, scscf, pcscf, address)
    finally:
        await pcscf.aclose()
        await scscf.aclose()
        hss.close()


@pytest.fixture
async def network() -> AsyncIterator[SmallNetwork]:
    async with small_network() as started:
        yield started
