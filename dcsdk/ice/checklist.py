"""Candidate pairs: formed, ordered, and bounded in number."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from dcsdk.ice.candidate import Address, Candidate
from dcsdk.ice.config import IceConfig

PairKey = tuple[Address, Address]
"""Our base and the peer's address."""


class PairState(Enum):
    """Where the check of a pair stands (RFC 8445 6.1.2.6).

    There is no *Frozen*: it spares checks between components and media lines, and we have one of
    each.
    """

    WAITING, IN_PROGRESS, SUCCEEDED, FAILED = auto(), auto(), auto(), auto()


class Pair:
    """One of our bases and one candidate of the peer.

    Attributes:
        base: a candidate of ours that has a socket.
        remote: the peer's candidate.
        state: of the check.
        is_authenticated: the peer's signature came from there, in a check or in an answer.
        is_nomination_wanted: the peer nominated it before our own check succeeded.
        mapped: where the peer sees us, known once the check succeeded.
        round_trip_s: of the check, ``None`` while unknown.
        conflicts: how often the peer refused our role.
    """

    __slots__ = (
        "_local",
        "_remote",
        "base",
        "conflicts",
        "is_authenticated",
        "is_nomination_wanted",
        "mapped",
        "remote",
        "round_trip_s",
        "state",
    )

    def __init__(self, base: Candidate, local: Address, remote: Candidate, to: Address) -> None:
        self.base = base
        self.remote = remote
        self.state = PairState.WAITING
        self.is_authenticated = False
        self.is_nomination_wanted = False
        self.mapped: Address | None = None
        self.round_trip_s: float | None = None
        self.conflicts = 0
        self._local = local
        self._remote = to

    @property
    def local_address(self) -> Address:
        """Where we send from."""
        return self._local

    @property
    def remote_address(self) -> Address:
        """Where we send to."""
        return self._remote

    @property
    def key(self) -> PairKey:
        """What tells this pair from others."""
        return self._local, self._remote

    def priority(self, *, is_controlling: bool) -> int:
        """Return the priority, the same number at both ends (RFC 8445 6.1.2.3)."""
        ours, theirs = self.base.priority, self.remote.priority
        first, second = (ours, theirs) if is_controlling else (theirs, ours)
        return (min(ours, theirs) << 32) + 2 * max(ours, theirs) + (first > second)


class CheckList:
    """Every pair of one generation of ICE.

    Args:
        config: the bounds.
        bases: our candidates that have a socket, by its address.
    """

    def __init__(self, config: IceConfig, bases: dict[Address, Candidate]) -> None:
        self._config = config
        self._bases = bases
        self._remotes: dict[Address, Candidate] = {}
        self._pairs: dict[PairKey, Pair] = {}
        self.candidates_ignored = 0

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs.values())

    def __len__(self) -> int:
        return len(self._pairs)

    def get(self, local: Address, remote: Address) -> Pair | None:
        """Return the pair of two addresses."""
        return self._pairs.get((local, remote))

    def add_remote(self, candidate: Candidate, *, is_controlling: bool) -> None:
        """Pair a candidate of the peer with each of our bases (RFC 8445 6.1.2.2).

        A loopback address means another host when the peer says it, so only a base that is on
        loopback itself is paired with it: else a peer could have us send to services of our own
        host. Link-local addresses are paired with their like for that reason too.

        One that is known already by its address, peer-reflexive till now, gets its real
        description (RFC 8838 11).
        """
        address = candidate.address
        bases = [
            (local, base)
            for local, base in self._bases.items()
            if candidate.is_usable(base, allow_loopback=self._config.allow_loopback)
        ]
        if (
            address is None
            or not bases
            or (
                address not in self._remotes
                and len(self._remotes) >= self._config.max_remote_candidates
            )
        ):
            self.candidates_ignored += 1
            return
        known = self._remotes.get(address)
        if known is not None and known.type != "prflx":
            return
        self._remotes[address] = candidate
        for local, base in bases:
            self._pair(local, base, address, candidate, is_controlling=is_controlling)

    def add_reflexive(
        self, local: Address, remote: Address, priority: int, *, is_controlling: bool
    ) -> Pair | None:
        """Make a pair of an address that a check came from (RFC 8445 7.3.1.3, 7.3.1.4).

        Returns:
            ``None`` when there are too many, or ``local`` is none of ours.
        """
        base = self._bases.get(local)
        if base is None:
            return None
        candidate = self._remotes.get(remote)
        if candidate is None:
            if len(self._remotes) >= self._config.max_remote_candidates:
                self.candidates_ignored += 1
                return None
            foundation = f"prflx{len(self._remotes)}"
            candidate = Candidate.peer_reflexive(remote, priority, foundation)
            self._remotes[remote] = candidate
        return self._pair(local, base, remote, candidate, is_controlling=is_controlling)

    def best(self, *states: PairState, is_controlling: bool) -> Pair | None:
        """Return the pair of highest priority in one of some states."""
        found = [pair for pair in self._pairs.values() if pair.state in states]
        return max(
            found, key=lambda pair: pair.priority(is_controlling=is_controlling), default=None
        )

    def _pair(
        self,
        local: Address,
        base: Candidate,
        remote: Address,
        candidate: Candidate,
        *,
        is_controlling: bool,
    ) -> Pair | None:
        if (":" in local[0]) != (":" in remote[0]):
            return None
        known = self._pairs.get((local, remote))
        if known is not None:
            known.remote = candidate
            return known
        pair = Pair(base, local, candidate, remote)
        if len(self._pairs) >= self._config.max_pairs and not self._make_room(pair, is_controlling):
            self.candidates_ignored += 1
            return None
        self._pairs[pair.key] = pair
        return pair

    def _make_room(self, newcomer: Pair, is_controlling: bool) -> bool:
        """Give up the worst pair that has not been tried or has failed (RFC 8445 6.1.2.5)."""
        idle = [p for p in self if p.state in (PairState.WAITING, PairState.FAILED)]
        worst = min(idle, key=lambda p: p.priority(is_controlling=is_controlling), default=None)
        if worst is None or worst.priority(is_controlling=is_controlling) >= newcomer.priority(
            is_controlling=is_controlling
        ):
            return False
        del self._pairs[worst.key]
        return True
