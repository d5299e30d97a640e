"""STUN transactions of connectivity checks: repeated until answered, and bounded."""

from __future__ import annotations

from dataclasses import dataclass

from dcsdk.ice.checklist import Pair
from dcsdk.ice.config import IceConfig

HURRY_S = 0.02
"""When the peer's check shows that a pair works, ours is repeated if it is older than this."""


@dataclass(slots=True, kw_only=True)
class Transaction:
    """One check under way.

    Attributes:
        id: 12 random bytes.
        pair: what is checked.
        data: the request.
        is_nomination: it carries USE-CANDIDATE.
        is_controlling: the role it was sent in.
        sent_at: first transmission.
        last_sent_at: latest transmission.
        next_at: next transmission.
        interval_s: time between the latest transmission and the next.
        expires_at: then it failed.
        transmissions: so far.
        is_repeated: sent more than once, so the round trip is not known.
    """

    id: bytes
    pair: Pair
    data: bytes
    is_nomination: bool
    is_controlling: bool
    sent_at: float
    last_sent_at: float
    next_at: float | None
    interval_s: float
    expires_at: float
    transmissions: int = 1
    is_repeated: bool = False


class Transactions:
    """The checks under way, one for each pair and one nomination at most.

    Args:
        config: how often and how long a check is repeated.
    """

    def __init__(self, config: IceConfig) -> None:
        self._config = config
        self._open: dict[bytes, Transaction] = {}

    def start(
        self,
        transaction_id: bytes,
        pair: Pair,
        data: bytes,
        *,
        is_nomination: bool,
        is_controlling: bool,
        pace_s: float,
        now: float,
    ) -> None:
        """Note that a check was sent now, in place of an older one of that pair."""
        self.cancel(pair)
        config = self._config
        # RFC 8445 14.3: every check is sent once before any is repeated.
        rto_s = max(config.rto_s, pace_s * (len(self._open) + 1))
        waits = 2 ** (config.max_transmissions - 1) - 1 + config.last_wait
        self._open[transaction_id] = Transaction(
            id=transaction_id,
            pair=pair,
            data=data,
            is_nomination=is_nomination,
            is_controlling=is_controlling,
            sent_at=now,
            last_sent_at=now,
            next_at=now + rto_s if config.max_transmissions > 1 else None,
            interval_s=rto_s,
            expires_at=now + waits * rto_s,
        )

    def get(self, transaction_id: bytes) -> Transaction | None:
        """Return an open transaction."""
        return self._open.get(transaction_id)

    def finish(self, transaction: Transaction) -> None:
        """Forget a transaction that was answered."""
        self._open.pop(transaction.id, None)

    def cancel(self, pair: Pair) -> None:
        """Forget the transactions of a pair."""
        self._open = {key: item for key, item in self._open.items() if item.pair is not pair}

    def of(self, pair: Pair) -> Transaction | None:
        """Return the transaction of a pair."""
        return next((item for item in self._open.values() if item.pair is pair), None)

    def keep_nominated(self) -> None:
        """Forget all but those of pairs the peer nominated (RFC 8445 8.1.2)."""
        self._open = {k: item for k, item in self._open.items() if item.pair.is_nomination_wanted}

    def clear(self) -> None:
        """Forget all."""
        self._open.clear()

    def hurry(self, pair: Pair) -> None:
        """Repeat the check of a pair soon: the way is known to be open now.

        This takes the place of cancelling the check and starting another (RFC 8445 7.3.1.4); a
        check that was sent just now gets the time to be answered.
        """
        transaction = self.of(pair)
        if transaction is not None and transaction.next_at is not None:
            soon = transaction.last_sent_at + HURRY_S
            transaction.next_at = min(transaction.next_at, soon)

    def take_due(self, now: float) -> tuple[list[Transaction], list[Transaction]]:
        """Return what is to be sent again now, and what failed, which is forgotten."""
        again, failed = [], []
        for transaction in list(self._open.values()):
            if now >= transaction.expires_at:
                failed.append(transaction)
                del self._open[transaction.id]
            elif transaction.next_at is not None and now >= transaction.next_at:
                again.append(transaction)
                self._sent_again(transaction, now)
        return again, failed

    def _sent_again(self, transaction: Transaction, now: float) -> None:
        transaction.is_repeated = True
        transaction.last_sent_at = now
        transaction.transmissions += 1
        transaction.interval_s *= 2
        is_last = transaction.transmissions >= self._config.max_transmissions
        transaction.next_at = None if is_last else now + transaction.interval_s

    def next_timer(self) -> float | None:
        """Return when ``take_due`` has something, ``None`` when nothing is open."""
        return min(
            (
                item.expires_at if item.next_at is None else min(item.next_at, item.expires_at)
                for item in self._open.values()
            ),
            default=None,
        )
