"""What the model of a served call is made of: places for lines, and one offer on its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from dcsdk.emulator.sbi.dc_control import DcMedia
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription


class Side(Enum):
    """The two legs: toward the user we serve, and toward everybody else."""

    SERVED, REMOTE = "served", "remote"

    @property
    def other(self) -> Side:
        """The leg across."""
        return Side.REMOTE if self is Side.SERVED else Side.SERVED


class SlotKind(Enum):
    """What a place on a leg is used for."""

    THROUGH = "through"
    MF = "mf"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One place for an ``m=`` line on one leg.

    Attributes:
        kind: passes to the other leg, ends in our MF, or refused.
        media_id: by which the DCSF knows the line, ``""`` for a line that is no data channel.
        peer: the place on the other leg, for ``THROUGH``.
        mf: our MF's side, for ``MF``.
        user: the user's side of a data channel line as last agreed or offered.
        description: the user's line as it last came, for a place that passes through.
    """

    kind: SlotKind
    media_id: str = ""
    peer: int | None = None
    mf: DcMedia | None = None
    user: DcMedia | None = None
    description: MediaDescription | None = None


DEAD = Slot(kind=SlotKind.DEAD)

Slots = tuple[Slot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedChange:
    """A data channel line of an offer that the DCSF has to decide on.

    Attributes:
        index: its place in the offer.
        media: the line; ``None`` when it cannot be used, and is refused without asking.
        old_id: the media id it had until now, ``""`` for a new line.
    """

    index: int
    media: DcMedia | None
    old_id: str = ""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One offer on its way through the AS.

    Attributes:
        side: where the offer came from.
        offer: as it came.
        is_initial: the first one of the call.
        changes: by new media id, what to decide on.
        closed_ids: media ids whose lines the offer ends.
        slots: of both legs, as they will be when the answer has come.
        new_ids: media ids for which this exchange made the MF do something.
    """

    side: Side
    offer: SessionDescription
    is_initial: bool
    changes: dict[str, OfferedChange] = field(default_factory=dict)
    closed_ids: list[str] = field(default_factory=list)
    slots: dict[Side, Slots] = field(default_factory=dict)
    new_ids: set[str] = field(default_factory=set)

    @property
    def questions(self) -> dict[str, DcMedia]:
        """The readable lines to decide on, by media id."""
        return {
            key: change.media for key, change in self.changes.items() if change.media is not None
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of an offer.

    Attributes:
        answer: for the leg the offer came from.
        answered: MF-ended lines that the other leg's user answered, by media id.
        dropped_ids: media ids whose MF contexts are no longer needed.
    """

    answer: SessionDescription
    answered: Mapping[str, DcMedia]
    dropped_ids: tuple[str, ...]
