"""One offer and its answer, as a value: prepared, sent, then committed or rolled back.

All that can fail happens before an answer is sent, or before the answer to our offer takes effect.
Until it is committed nothing of the session has changed: no channel is closed, no path moved, no
line ended. That does not wait and cannot refuse; ``rollback`` releases what was prepared.

Source: RFC 3264 4: a refused offer leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from dcsdk.errors import LocalProtocolError
from dcsdk.interfaces.security import Agreement, PendingOffer, SecurityAnswer
from dcsdk.io.tasks import finish_all
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription
from dcsdk.security import SecurityScope
from dcsdk.session.line import MediaLine
from dcsdk.session.line_paths import LinePaths, RemoteEnd
from dcsdk.session.transport_group import TransportGroup


class Renewal(Enum):
    """What an offer of ours asks to be made anew on a line that is up."""

    NOTHING = auto()
    ICE = auto()
    """New ICE credentials (RFC 8839 4.4.1.1.1)."""
    SECURITY = auto()
    """New keys on new paths: for DTLS a new association (RFC 8842 5.5)."""


@dataclass(frozen=True, slots=True)
class Keep:
    """The line goes on, perhaps with a change of its medium.

    Attributes:
        line: up.
        change: the medium's own.
        renewal: what shall be made anew.
    """

    line: MediaLine
    change: Any = None
    renewal: Renewal = Renewal.NOTHING


@dataclass(frozen=True, slots=True)
class New:
    """A line that has no place yet."""

    line: MediaLine
    change: Any = None


@dataclass(frozen=True, slots=True)
class Replace:
    """Another medium takes the place of a line that is up (RFC 3264 8.3.3)."""

    old: MediaLine
    line: MediaLine
    change: Any = None


@dataclass(frozen=True, slots=True)
class End:
    """The line ends: port 0 (RFC 3264 8.2)."""

    line: MediaLine


@dataclass(frozen=True, slots=True)
class Refuse:
    """An offered line that is not taken, or a place that stays empty: port 0 (RFC 3264 6)."""

    description: MediaDescription


LinePlan = Keep | New | Replace | End | Refuse


@dataclass(slots=True, kw_only=True)
class Step:
    """What an exchange prepared for one m-line.

    Attributes:
        plan: what becomes of the line.
        described: the line as we wrote it.
        paths: bound for this exchange, or ``None``.
        pending: the backend's half of our offer, or ``None``.
        answered: the backend's half of our answer, or ``None``.
        agreement: what offer and answer lead to, or ``None``.
        remote: the peer's end, or ``None``.
        change: what the medium commits.
        claimed: scope and reason that our answer leads to; ``None`` in an offer.
    """

    plan: LinePlan
    described: MediaDescription
    paths: LinePaths | None = None
    pending: PendingOffer | None = None
    answered: SecurityAnswer | None = None
    agreement: Agreement | None = None
    remote: RemoteEnd | None = None
    change: Any = None
    claimed: tuple[SecurityScope, str] | None = None

    @property
    def line(self) -> MediaLine | None:
        """The line that is there afterwards, unless the answer refuses it."""
        return self.plan.line if isinstance(self.plan, Keep | New | Replace) else None


class Stage(Enum):
    """Where an exchange is in its life."""

    PREPARED = auto()
    SENT = auto()
    COMMITTED = auto()
    ROLLED_BACK = auto()


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a committed exchange leaves to be done.

    Attributes:
        started: groups whose transport is new or renewed, in the order of their lines.
        fresh: lines that came up with this exchange.
        ended: lines that are to be closed.
    """

    started: list[TransportGroup] = field(default_factory=list)
    fresh: list[MediaLine] = field(default_factory=list)
    ended: list[MediaLine] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One offer and its answer.

    Attributes:
        description: ours: the offer, or the answer.
        steps: one for each m-line of it.
        is_offerer: the offer is ours.
        stage: where the exchange is in its life.
    """

    description: SessionDescription
    steps: list[Step]
    is_offerer: bool
    stage: Stage = Stage.PREPARED

    def sent(self) -> SessionDescription:
        """Return our description, which goes out now."""
        self._move(Stage.PREPARED, Stage.SENT)
        return self.description

    def committed(self) -> None:
        """Everything takes effect.

        Raises:
            LocalProtocolError: the exchange ended already, or nothing was sent.
        """
        self._move(Stage.SENT, Stage.COMMITTED)

    def _move(self, stage: Stage, to: Stage) -> None:
        if self.stage is not stage:
            raise LocalProtocolError(
                f"the exchange is {self.stage.name.lower()}, not {stage.name.lower()}",
                source="RFC 3264 4",
            )
        self.stage = to

    async def rollback(self) -> None:
        """Release everything that was prepared; the session is what it was. Idempotent."""
        if self.stage in (Stage.COMMITTED, Stage.ROLLED_BACK):
            return
        self.stage = Stage.ROLLED_BACK
        await rollback(self.steps)


async def rollback(steps: Iterable[Step]) -> None:
    """Release what some steps hold. Lines that are new with them end."""
    await finish_all(_rollback_step(step) for step in steps)


async def _rollback_step(step: Step) -> None:
    line = step.line
    if line is not None:
        if step.change is not None:
            line.media.forget(step.change)
        if line.group is not None:
            line.group.paths.rollback()
    try:
        await release(step)
    finally:
        if isinstance(step.plan, New | Replace):
            await step.plan.line.aclose(0.0)


async def release(step: Step) -> None:
    """Give back what a step holds of its backend and what paths it bound."""
    try:
        if step.pending is not None:
            await step.pending.rollback()
        if step.answered is not None:
            await step.answered.rollback()
    finally:
        if step.paths is not None:
            await step.paths.close()
