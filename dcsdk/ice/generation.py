"""One generation of ICE: the checks, the nomination and the consent of one set of credentials.

An ICE restart begins another generation; the old one carries data until the new one has a pair.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from aioice.stun import Class, Message

from dcsdk.ice.candidate import (
    HIGHEST_PREFERENCE,
    MAX_PRIORITY,
    Address,
    Candidate,
    Entropy,
    IceCredentials,
    reflexive_priority,
)
from dcsdk.ice.checklist import CheckList, Pair, PairKey, PairState
from dcsdk.ice.config import MAX_EARLY_CHECKS, IceConfig
from dcsdk.ice.consent import Consent
from dcsdk.ice.events import (
    ConsentLost,
    IceEvent,
    IceFailed,
    IceTransmit,
    PairSelected,
    RoleChanged,
)
from dcsdk.ice.sdp import IceDescription
from dcsdk.ice.stun import ROLE_CONFLICT, TRANSACTION_ID_BYTES, CheckRequest
from dcsdk.ice.transactions import Transactions

_OPEN = (PairState.WAITING, PairState.IN_PROGRESS)


COUNTERS = (
    *("answers_unexpected", "answers_unsigned", "checks_received", "checks_refused"),
    *("checks_sent", "consent_checks", "stun_malformed", "stun_unexpected"),
)
"""What is counted, from 0 on."""


@dataclass(slots=True, kw_only=True)
class Shared:
    """What the generations of one agent have in common."""

    config: IceConfig
    entropy: Entropy
    tie_breaker: int
    is_controlling: bool = False
    bases: dict[Address, Candidate] = field(default_factory=dict)
    transmits: deque[IceTransmit] = field(default_factory=deque)
    events: deque[IceEvent] = field(default_factory=deque)
    counters: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(COUNTERS, 0)))

    def switch_role(self, *, is_controlling: bool) -> None:
        """Take the other role (RFC 8445 7.3.1.1)."""
        if self.is_controlling != is_controlling:
            self.is_controlling = is_controlling
            self.events.append(RoleChanged(is_controlling=is_controlling))


class Generation:
    """The check list of one pair of credentials, from the first check to the loss of consent.

    Args:
        shared: of the agent.
        local: our credentials.
    """

    def __init__(self, shared: Shared, local: IceCredentials) -> None:
        self._shared = shared
        self.local = local
        self.remote: IceDescription | None = None
        self.selected: Pair | None = None
        self.is_started = False
        self.is_ended = False
        self._username = ""
        self._remote_key = b""
        self._pairs = CheckList(shared.config, shared.bases)
        self._transactions = Transactions(shared.config)
        self._consent: Consent | None = None
        self._early: dict[PairKey, tuple[str, int, bool]] = {}
        self._pace_s = shared.config.pace_s
        self._pace_at = 0.0
        self._nominating: Pair | None = None
        self._nominate_at = 0.0
        self._patience_at: float | None = None

    # --- what signalling says -------------------------------------------------------------------
    def set_remote(self, description: IceDescription, *, now: float) -> None:
        """Take the peer's description, or further candidates of it."""
        is_first = self.remote is None
        self.remote = description
        credentials = description.credentials
        self._username = f"{credentials.ufrag}:{self.local.ufrag}"
        self._remote_key = credentials.key
        self._pace_s = max(self._shared.config.pace_s, (description.pacing_ms or 0) / 1000)
        self.add_remote(description.candidates, now=now)
        if is_first:
            self._begin(now)

    def add_remote(self, candidates: Iterable[Candidate], *, now: float) -> None:
        """Pair candidates of the peer."""
        for candidate in candidates:
            self._pairs.add_remote(candidate, is_controlling=self._shared.is_controlling)
        self._go_on(now)

    def start(self, *, now: float) -> None:
        """Begin the checks, now or when the peer's description comes."""
        if not self.is_started:
            self.is_started = True
            self._begin(now)

    def _begin(self, now: float) -> None:
        """Begin when everything is known, with the checks that came early."""
        if self.remote is None or not self.is_started:
            return
        self._patience_at = now + self._shared.config.patience_s
        if self.remote.is_lite != self._shared.config.is_lite:
            # The full agent controls, whoever offered (RFC 8445 6.1.1).
            self._shared.switch_role(is_controlling=self.remote.is_lite)
        early, self._early = self._early, {}
        for (local, source), (ufrag, priority, is_nominated) in early.items():
            if ufrag == self.remote.credentials.ufrag:
                self._check_arrived(local, source, priority, is_nominated, now)
        if self.remote.is_lite and self._shared.config.is_lite:
            # Neither side checks: the best pair is taken as it is (RFC 8445 6.1.1, 8.2.2).
            pair = self._best(*PairState)
            if pair is not None:
                pair.is_authenticated = True
                self._select(pair, now)
        self._go_on(now)

    # --- checks of the peer ---------------------------------------------------------------------
    def is_username(self, username: str) -> bool:
        """Tell whether a request is meant for this generation (RFC 8445 7.3)."""
        ours, colon, theirs = username.partition(":")
        if ours != self.local.ufrag or not colon:
            return False
        return self.remote is None or theirs == self.remote.credentials.ufrag

    def check_received(
        self, message: Message, local: Address, source: Address, *, now: float
    ) -> None:
        """Take a check that is signed properly and was answered."""
        attributes = message.attributes
        priority = attributes.get("PRIORITY") or reflexive_priority(HIGHEST_PREFERENCE)
        priority = min(priority, MAX_PRIORITY)
        is_nominated = "USE-CANDIDATE" in attributes
        if self.remote is None or not self.is_started:
            key = (local, source)
            if key in self._early or len(self._early) < MAX_EARLY_CHECKS:
                ufrag = attributes["USERNAME"].partition(":")[2]
                was_nominated = self._early.get(key, ("", 0, False))[2]
                self._early[key] = (ufrag, priority, is_nominated or was_nominated)
            return
        self._check_arrived(local, source, priority, is_nominated, now)
        self._go_on(now)

    def _check_arrived(
        self, local: Address, source: Address, priority: int, is_nominated: bool, now: float
    ) -> None:
        if self.is_ended:
            return
        shared = self._shared
        pair = self._pairs.get(local, source) or self._pairs.add_reflexive(
            local, source, priority, is_controlling=shared.is_controlling
        )
        if pair is None:
            return
        pair.is_authenticated = True
        is_nominated = is_nominated and not shared.is_controlling
        if shared.config.is_lite or pair.state is PairState.SUCCEEDED:
            if is_nominated:
                self._select(pair, now)
        else:
            pair.is_nomination_wanted |= is_nominated
            if pair.state is PairState.IN_PROGRESS:
                self._transactions.hurry(pair)
            elif self.selected is None or is_nominated:
                self._check(pair, now)

    # --- answers to our checks ------------------------------------------------------------------
    def answer_received(
        self, message: Message, local: Address, source: Address, *, now: float
    ) -> bool:
        """Take an answer; return whether it belongs to a check of this generation."""
        consent = self._consent
        if consent is not None and consent.is_mine(message.transaction_id):
            self._consent_answered(consent, message, local, source, now)
            return True
        transaction = self._transactions.get(message.transaction_id)
        if transaction is None:
            return False
        if not message.check_message_integrity(self._remote_key):
            self._shared.counters["answers_unsigned"] += 1
            return True
        pair = transaction.pair
        self._transactions.finish(transaction)
        if pair is self._nominating:
            self._nominating = None
        mapped = message.attributes.get("XOR-MAPPED-ADDRESS")
        if message.message_class is Class.ERROR and message.error_code == ROLE_CONFLICT:
            self._role_refused(pair, is_controlling=not transaction.is_controlling)
        elif (
            message.message_class is Class.ERROR
            or mapped is None
            or pair.key != (local, source)  # RFC 8445 7.2.5.2.1: addresses must be symmetric
        ):
            self._fail(pair)
        else:
            pair.state = PairState.SUCCEEDED
            pair.is_authenticated = True
            pair.mapped = mapped
            if not transaction.is_repeated:
                pair.round_trip_s = now - transaction.sent_at
            self._succeeded(pair, transaction.is_nomination, now)
        self._go_on(now)
        return True

    def _role_refused(self, pair: Pair, *, is_controlling: bool) -> None:
        """Take the other role than that of the request, and check again (RFC 8445 7.2.5.1).

        Again means in turn, at the pace of all checks, and no more often than one check is sent: a
        peer that refuses either role works with none.
        """
        pair.conflicts += 1
        if pair.conflicts >= self._shared.config.max_transmissions:
            self._fail(pair)
            return
        self._shared.switch_role(is_controlling=is_controlling)
        pair.state = PairState.WAITING

    def _succeeded(self, pair: Pair, is_nomination: bool, now: float) -> None:
        if self._shared.is_controlling:
            if is_nomination:
                self._select(pair, now)
            elif not self._nominate_at:
                self._nominate_at = now + self._shared.config.nomination_wait_s
        elif pair.is_nomination_wanted:
            self._select(pair, now)

    def _consent_answered(
        self, consent: Consent, message: Message, local: Address, source: Address, now: float
    ) -> None:
        if (
            self.selected is not None
            and self.selected.key == (local, source)
            and message.message_class is Class.RESPONSE
            and message.check_message_integrity(self._remote_key)
        ):
            consent.renew(now=now)
        else:
            self._shared.counters["answers_unsigned"] += 1

    # --- time -----------------------------------------------------------------------------------
    def handle_timer(self, *, now: float) -> None:
        """Do what is due."""
        again, failed = self._transactions.take_due(now)
        for transaction in again:
            self._send(transaction.pair, transaction.data)
        for transaction in failed:
            self._fail(transaction.pair)
        consent, pair = self._consent, self.selected
        if consent is not None and pair is not None:
            if consent.is_lost(now):
                self._end()
                self._shared.events.append(
                    ConsentLost(local=pair.local_address, remote=pair.remote_address)
                )
            elif consent.is_due(now):
                transaction_id = self._shared.entropy(TRANSACTION_ID_BYTES)
                self._send(pair, self._request(pair, transaction_id, is_nomination=False))
                self._shared.counters["consent_checks"] += 1
                consent.sent(transaction_id, now=now)
        self._go_on(now)

    def next_timer(self) -> float | None:
        """Return when ``handle_timer`` has something to do."""
        if self.is_ended:
            return None
        timers = [self._transactions.next_timer()]
        if self._consent is not None:
            timers.append(self._consent.next_timer())
        if self.selected is None:
            timers.append(self._patience_at if not self._is_busy() else None)
            if self._is_checking() and self._best(PairState.WAITING) is not None:
                timers.append(self._pace_at)
            if self._is_deciding():
                timers.append(self._nominate_at)
        return min((timer for timer in timers if timer is not None), default=None)

    def _go_on(self, now: float) -> None:
        """Check the next pair, nominate, or give up, whichever is due."""
        if self.is_ended or self.selected is not None or not self.is_started:
            return
        if self._is_checking():
            if now >= self._pace_at:
                pair = self._best(PairState.WAITING)
                if pair is not None:
                    self._pace_at = now + self._pace_s
                    self._check(pair, now)
            if self._is_deciding():
                self._decide(now)
        if self._patience_at is not None and now >= self._patience_at and not self._is_busy():
            self._end()
            known = len(self._pairs)
            reason = f"none of {known} candidate pairs works" if known else "no candidate pair"
            self._shared.events.append(IceFailed(reason=reason))

    def _is_checking(self) -> bool:
        return self.is_started and self.remote is not None and not self._shared.config.is_lite

    def _is_busy(self) -> bool:
        """Tell whether a check may still succeed."""
        return self._is_checking() and self._best(*_OPEN) is not None

    def _is_deciding(self) -> bool:
        """Tell whether a pair works and none is nominated."""
        return (
            self._shared.is_controlling
            and self._nominating is None
            and self._best(PairState.SUCCEEDED) is not None
        )

    def _decide(self, now: float) -> None:
        """Nominate the best pair that works, when no better one is worth waiting for."""
        best = self._best(PairState.SUCCEEDED)
        if best is None:
            return
        better = self._best(*_OPEN)
        is_last = better is None or self._priority(better) < self._priority(best)
        if is_last or now >= self._nominate_at:
            self._nominating = best
            self._check(best, now, is_nomination=True)

    # --- pairs ----------------------------------------------------------------------------------
    def is_validated(self, local: Address, remote: Address) -> bool:
        """Tell whether the peer's signature came over this pair, if only early."""
        pair = self._pairs.get(local, remote)
        if pair is None:
            return (local, remote) in self._early
        return pair.is_authenticated

    @property
    def pair_count(self) -> int:
        """How many pairs there are."""
        return len(self._pairs)

    @property
    def candidates_ignored(self) -> int:
        """How many candidates of the peer were of no use, or too many."""
        return self._pairs.candidates_ignored

    def selected_event(self) -> PairSelected | None:
        """Describe the selected pair."""
        pair = self.selected
        if pair is None:
            return None
        base = pair.base
        if pair.mapped is not None and pair.mapped != pair.local_address:
            base = Candidate.peer_reflexive(
                pair.mapped, reflexive_priority(base.preference), "prflx"
            )
        return PairSelected(
            local=pair.local_address,
            remote=pair.remote_address,
            local_candidate=base,
            remote_candidate=pair.remote,
            round_trip_s=pair.round_trip_s,
        )

    def _best(self, *states: PairState) -> Pair | None:
        return self._pairs.best(*states, is_controlling=self._shared.is_controlling)

    def _priority(self, pair: Pair) -> int:
        return pair.priority(is_controlling=self._shared.is_controlling)

    def _select(self, pair: Pair, now: float) -> None:
        """Use a pair for data.

        A peer of RFC 5245 nominates several, of which the best counts; a peer that moved nominates
        another when ours is silent already.
        """
        current = self.selected
        if pair is current:
            return
        if (
            current is not None
            and self._consent is not None
            and not self._consent.is_doubtful(now)
            and self._priority(pair) <= self._priority(current)
        ):
            return
        self.selected = pair
        pair.is_nomination_wanted = False
        self._transactions.keep_nominated()
        self._early.clear()
        config = self._shared.config
        self._consent = None if config.is_lite else Consent(config, self._shared.entropy, now=now)
        event = self.selected_event()
        if event is not None:
            self._shared.events.append(event)

    def _fail(self, pair: Pair) -> None:
        pair.state = PairState.FAILED
        pair.is_nomination_wanted = False
        if pair is self._nominating:
            self._nominating = None

    def _end(self) -> None:
        """Stop for good; only another generation gets consent again (RFC 7675 5.1)."""
        self.is_ended = True
        self.selected = None
        self._consent = None
        self._transactions.clear()

    # --- sending --------------------------------------------------------------------------------
    def _check(self, pair: Pair, now: float, *, is_nomination: bool = False) -> None:
        transaction_id = self._shared.entropy(TRANSACTION_ID_BYTES)
        data = self._request(pair, transaction_id, is_nomination=is_nomination)
        pair.state = PairState.IN_PROGRESS
        self._transactions.start(
            transaction_id,
            pair,
            data,
            is_nomination=is_nomination,
            is_controlling=self._shared.is_controlling,
            pace_s=self._pace_s,
            now=now,
        )
        self._send(pair, data)

    def _request(self, pair: Pair, transaction_id: bytes, *, is_nomination: bool) -> bytes:
        request = CheckRequest(
            username=self._username,
            priority=reflexive_priority(pair.base.preference),
            is_controlling=self._shared.is_controlling,
            tie_breaker=self._shared.tie_breaker,
            use_candidate=is_nomination,
        )
        return request.encode(transaction_id, self._remote_key)

    def _send(self, pair: Pair, data: bytes) -> None:
        self._shared.counters["checks_sent"] += 1
        self._shared.transmits.append(
            IceTransmit(data=data, local=pair.local_address, destination=pair.remote_address)
        )
