"""A small network: P-CSCF, S-CSCF, HSS and the SIP half of the IMS AS, without media."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from dcsdk.emulator.access.pcscf import Pcscf
from dcsdk.emulator.app_server.ims_as import ImsAs
from dcsdk.emulator.core.hss import Hss, Subscriber
from dcsdk.emulator.core.scscf import Scscf
from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.interfaces import Address
from dcsdk.security import Secret
from dcsdk.sip.transactions.timers import SipTimers
from tests.emulator.fake_control import FakeControl

TIMERS = SipTimers(t1_s=0.05, t2_s=0.2, t4_s=0.2)
"""Time-outs of 64*T1 take 3.2 s."""


@dataclass
class SmallNetwork:
    """What a test of the CSCFs needs."""

    bus: TraceBus
    hss: Hss
    scscf: Scscf
    pcscf: Pcscf
    address: Address
    ims_as: ImsAs | None = None


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
    *,
    faults: frozenset[str] = frozenset(),
    is_e2dce_supported: bool = True,
    control: FakeControl | None = None,
    is_served: bool = False,
) -> AsyncIterator[SmallNetwork]:
    """Start the CSCFs on loopback; alice and roberta are subscribers, mute has no data channels.

    With ``is_served`` calls pass the IMS AS, which asks ``control``.
    """
    bus, hss = TraceBus(), Hss()
    for name in ("alice", "roberta"):
        hss.add_subscriber(subscriber(name))
    hss.add_subscriber(subscriber("mu", dc_allowed=False))
    scscf = Scscf(bus, hss=hss, home_domain="ims.example", faults=faults, timers=TIMERS)
    registrar = await scscf.start("127.0.0.1")
    pcscf = Pcscf(
        bus,
        registrar=registrar,
        is_e2dce_supported=is_e2dce_supported,
        faults=faults,
        timers=TIMERS,
    )
    ims_as = None
    if is_served:
        ims_as = ImsAs(bus, hss=hss, control=control, marks_e2dce=is_e2dce_supported, timers=TIMERS)
        scscf.application_server = await ims_as.start("127.0.0.1")
    try:
        await pcscf.start("127.0.0.1")
        address = await pcscf.listen("tcp", "127.0.0.1")
        yield SmallNetwork(bus, hss, scscf, pcscf, address, ims_as)
    finally:
        await pcscf.aclose()
        if ims_as is not None:
            await ims_as.aclose()
        await scscf.aclose()
        hss.close()


@pytest.fixture
async def network() -> AsyncIterator[SmallNetwork]:
    async with small_network() as started:
        yield started


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
async def served(control: FakeControl) -> AsyncIterator[SmallNetwork]:
    async with small_network(control=control, is_served=True) as started:
        yield started
