"""Two ICE agents, or more, on a network that exists in virtual time only."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from dcsdk.ice import Candidate, IceAgent, IceConfig, IceEvent, IceTransmit
from dcsdk.ice.candidate import HIGHEST_PREFERENCE, Address

A, A2 = ("192.0.2.1", 4000), ("192.0.2.2", 4001)
B, B2 = ("198.51.100.1", 5000), ("198.51.100.2", 5001)
A6, B6 = ("2001:db8::1", 4006), ("2001:db8::2", 5006)

Delay = Callable[[IceTransmit], float | None]
"""Says how long a datagram takes, ``None`` when it is lost."""


def agent(seed: int, *addresses: Address, config: IceConfig | None = None) -> IceAgent:
    """Make an agent with host candidates, the first address preferred."""
    made = IceAgent(config, entropy=random.Random(seed).randbytes)
    for index, address in enumerate(addresses):
        made.add_local_candidate(Candidate.host_candidate(address, HIGHEST_PREFERENCE - index))
    return made


@dataclass
class Network:
    """Carries datagrams between agents by their addresses.

    Attributes:
        delay: for each datagram.
        nat: an address inside and the one it has outside.
        sent: every datagram, with the time, lost ones too.
    """

    delay: Delay = lambda _: 0.01
    nat: dict[Address, Address] = field(default_factory=dict)
    now: float = 1000.0
    sent: list[tuple[float, IceTransmit]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._agents: list[IceAgent] = []
        self._homes: dict[Address, IceAgent] = {}
        self._flying: list[tuple[float, int, IceTransmit]] = []
        self._count = itertools.count()
        self.events: dict[int, list[IceEvent]] = {}

    def add(self, made: IceAgent, *addresses: Address) -> None:
        """Connect an agent."""
        self._agents.append(made)
        self.events[id(made)] = []
        for address in addresses:
            self._homes[address] = made

    def of(self, made: IceAgent, kind: type[IceEvent]) -> list[IceEvent]:
        """Return the events of one kind that an agent told."""
        return [event for event in self.events[id(made)] if isinstance(event, kind)]

    def settle(self) -> None:
        """Take all output and events."""
        for made in self._agents:
            while (transmit := made.poll_transmit()) is not None:
                self.sent.append((self.now, transmit))
                took = self.delay(transmit)
                if took is not None:
                    item = (self.now + took, next(self._count), transmit)
                    heapq.heappush(self._flying, item)
            while (event := made.poll_event()) is not None:
                self.events[id(made)].append(event)

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass."""
        end = self.now + seconds
        self.settle()
        while not until():
            timers = [timer for made in self._agents if (timer := made.next_timer()) is not None]
            arrival = self._flying[0][0] if self._flying else None
            due = min([*timers, *([arrival] if arrival is not None else [])], default=None)
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            if arrival is not None and arrival <= self.now:
                self._arrive(heapq.heappop(self._flying)[2])
            for made in self._agents:
                timer = made.next_timer()
                if timer is not None and timer <= self.now:
                    made.handle_timer(now=self.now)
                    later = made.next_timer()
                    assert later is None or later > self.now, "a timer that does nothing"
            self.settle()
        else:
            return
        self.now = end

    def _arrive(self, transmit: IceTransmit) -> None:
        outside = {public: inside for inside, public in self.nat.items()}
        destination = outside.get(transmit.destination, transmit.destination)
        source = self.nat.get(transmit.local, transmit.local)
        made = self._homes.get(destination)
        if made is not None:
            made.receive(transmit.data, destination, source, now=self.now)
            self.settle()


def introduce(
    net: Network,
    one: IceAgent,
    other: IceAgent,
    *,
    one_controls: bool = True,
    other_controls: bool = False,
) -> None:
    """Exchange descriptions and start both."""
    ours, theirs = one.local_description, other.local_description
    other.set_remote_description(ours, now=net.now)
    other.start(is_controlling=other_controls, now=net.now)
    one.set_remote_description(theirs, now=net.now)
    one.start(is_controlling=one_controls, now=net.now)


def pair(
    *,
    seeds: tuple[int, int] = (1, 2),
    configs: tuple[IceConfig | None, ...] = (None, None),
    **kw: object,
) -> tuple[Network, IceAgent, IceAgent]:
    """Make a network with two agents of one address each."""
    net = Network(**kw)  # type: ignore[arg-type]
    one, other = agent(seeds[0], A, config=configs[0]), agent(seeds[1], B, config=configs[1])
    net.add(one, A)
    net.add(other, B)
    return net, one, other


def connected(**kw: object) -> tuple[Network, IceAgent, IceAgent]:
    """Make two agents that have selected their pair."""
    net, one, other = pair(**kw)  # type: ignore[arg-type]
    introduce(net, one, other)
    net.run(2.0)
    assert one.selected is not None
    assert other.selected is not None
    return net, one, other


def ends(made: IceAgent) -> tuple[Address, Address] | None:
    """Return the addresses of the selected pair."""
    selected = made.selected
    return None if selected is None else (selected.local, selected.remote)
