"""The media of one served call: which line of one leg is which line of the other.

The IMS AS is a back-to-back user agent, so each call it serves has two legs with an offer/answer
exchange of their own. A line either passes from leg to leg, or one leg's line ends in our MF.
Lines never vanish and never change places (RFC 3264 8), so the places on the two legs differ.

No I/O here: ``ims_as`` carries the descriptions and asks the DCSF for the decisions.

Source: TS 24.186 9.3.2.2, 9.3.3.2; RFC 3264 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from dcsdk.emulator.app_server.dc_lines import (
    is_same_side,
    refused_media,
    try_read_media,
    write_media,
)
from dcsdk.emulator.sbi.dc_control import Decision, LineEnd, Verdict
from dcsdk.errors import LocalProtocolError, RemoteProtocolError
from dcsdk.sdp.association import decide_setup
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.ims_attributes import E2DCE_ATTRIBUTE
from dcsdk.sdp.lines import Origin
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.offer_answer import check_reoffer_shape
from dcsdk.sdp.session import SessionDescription

MAX_LINES = 64
"""Lines one leg may ever have had."""


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
    mf: LineEnd | None = None
    user: LineEnd | None = None
    description: MediaDescription | None = None


DEAD = Slot(kind=SlotKind.DEAD)

Slots = tuple[Slot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedChange:
    """A data channel line of an offer that the DCSF has to decide on.

    Attributes:
        index: its place in the offer.
        media: the line; ``None`` when it cannot be used, and is refused without asking.
    """

    index: int
    media: LineEnd | None


@dataclass(slots=True, kw_only=True)
class PassingOffer:
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
    def questions(self) -> dict[str, LineEnd]:
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
    answered: Mapping[str, LineEnd]
    dropped_ids: tuple[str, ...]


class SessionModel:
    """Both legs' lines. One offer at a time: ``begin``, ``decide``, then ``finish`` or ``undo``.

    Args:
        origin_host: our address in ``o=``.
        origin_id: our session id in ``o=``.
        dc_allowed: the served user may have data channels; otherwise each one is refused.
        marks_e2dce: write ``a=3ge2dce:applied`` on lines that our MF ends.
    """

    def __init__(
        self,
        *,
        origin_host: str,
        origin_id: int,
        dc_allowed: bool = True,
        marks_e2dce: bool = False,
    ) -> None:
        self._origin_host = origin_host
        self._origin_id = origin_id
        self._dc_allowed = dc_allowed
        self._marks_e2dce = marks_e2dce
        self._slots: dict[Side, Slots] = {Side.SERVED: (), Side.REMOTE: ()}
        self._versions = {Side.SERVED: 0, Side.REMOTE: 0}
        self._last_sent: dict[Side, SessionDescription] = {}
        self._next_id = 1
        self._pending: PassingOffer | None = None

    @property
    def is_pending(self) -> bool:
        """An offer is on its way."""
        return self._pending is not None

    @property
    def mf_ids(self) -> frozenset[str]:
        """Media ids of the lines that our MF ends."""
        return frozenset(
            slot.media_id
            for slots in self._slots.values()
            for slot in slots
            if slot.kind is SlotKind.MF
        )

    def slots(self, side: Side) -> Slots:
        """The places of one leg as last agreed."""
        return self._slots[side]

    # --- an offer comes --------------------------------------------------------------------------
    def begin(self, side: Side, offer: SessionDescription) -> PassingOffer:
        """Take an offer and find out what there is to decide.

        Raises:
            RemoteProtocolError: another offer is under way (491), or lines are missing (488).
        """
        if self._pending is not None:
            raise RemoteProtocolError(
                "an offer is on its way already", source="RFC 3261 14.2", sip_status_hint=491
            )
        known = self._slots[side]
        check_reoffer_shape(len(known), offer)
        if len(offer.media) > MAX_LINES:
            raise RemoteProtocolError(f"more than {MAX_LINES} lines", sip_status_hint=488)
        passing = PassingOffer(side=side, offer=offer, is_initial=not self._last_sent)
        for index, media in enumerate(offer.media):
            self._look_at(passing, index, media, known[index] if index < len(known) else DEAD)
        self._pending = passing
        return passing

    def _look_at(
        self, passing: PassingOffer, index: int, media: MediaDescription, slot: Slot
    ) -> None:
        """Decide whether the DCSF must be asked about one offered line."""
        is_closed = media.is_rejected or (media.is_data_channel and media.get("sctp-port") == "0")
        if is_closed:
            if slot.media_id:
                passing.closed_ids.append(slot.media_id)
            return
        if not media.is_data_channel:
            return
        read = try_read_media(media, passing.offer)
        if slot.kind is not SlotKind.DEAD and slot.user is not None and read is not None:
            is_unchanged = (
                is_same_side(slot.user, read)
                if slot.kind is SlotKind.MF
                else (slot.user.streams, slot.user.app_binding) == (read.streams, read.app_binding)
            )
            if is_unchanged:
                return
        media_id = f"m{self._next_id}"
        self._next_id += 1
        passing.changes[media_id] = OfferedChange(index=index, media=read)

    # --- the DCSF has decided --------------------------------------------------------------------
    def decide(
        self, passing: PassingOffer, decisions: Mapping[str, Decision]
    ) -> SessionDescription:
        """Apply the decisions.

        Args:
            passing: of ``begin``.
            decisions: by media id; a missing one refuses its line.

        Returns:
            The offer for the other leg.

        Raises:
            RemoteProtocolError: nothing of the offer is left, answer 488.
        """
        self._check_pending(passing)
        side, other = passing.side, passing.side.other
        ours, theirs = list(self._slots[side]), list(self._slots[other])
        by_index = {change.index: key for key, change in passing.changes.items()}
        refused = 0
        for index, media in enumerate(passing.offer.media):
            while len(ours) <= index:
                ours.append(DEAD)
            old = ours[index]
            if index in by_index:
                media_id = by_index[index]
                decision = decisions.get(media_id) if self._dc_allowed else None
                slot = self._decided(passing, media_id, decision, old)
                refused += slot.kind is SlotKind.DEAD
            else:
                slot = self._kept(media, old)
            if old.peer is not None and slot.peer is None:
                theirs[old.peer] = DEAD
            ours[index] = _place(slot, index, media, theirs)
        if other is Side.SERVED:
            theirs += self._originated(passing, decisions)
        if len(theirs) > MAX_LINES:
            raise RemoteProtocolError(f"more than {MAX_LINES} lines", sip_status_hint=488)
        passing.slots = {side: tuple(ours), other: tuple(theirs)}
        if refused == len(by_index) > 0 and self._is_nothing_left(passing):
            raise RemoteProtocolError(
                "no line of the offer can be taken",
                source="TS 24.186 9.3.2.2",
                sip_status_hint=488,
            )
        return self._send(other, passing.offer, self._offer_lines(passing))

    def _decided(
        self, passing: PassingOffer, media_id: str, decision: Decision | None, old: Slot
    ) -> Slot:
        """The slot of a line the DCSF was asked about; the place on the other leg comes later."""
        user = passing.changes[media_id].media
        if decision is not None and user is not None:
            if decision.verdict is Verdict.TERMINATE and decision.media is not None:
                passing.new_ids.add(media_id)
                return Slot(kind=SlotKind.MF, media_id=media_id, mf=decision.media, user=user)
            if decision.verdict is Verdict.FORWARD:
                peer = old.peer if old.kind is SlotKind.THROUGH else None
                return Slot(kind=SlotKind.THROUGH, media_id=media_id, peer=peer, user=user)
        return DEAD

    @staticmethod
    def _kept(media: MediaDescription, slot: Slot) -> Slot:
        """The slot of a line nobody has to decide on."""
        if slot.kind is SlotKind.MF:
            return DEAD if media.is_rejected or media.get("sctp-port") == "0" else slot
        if slot.kind is SlotKind.DEAD and media.is_rejected:
            return DEAD
        return replace(slot, kind=SlotKind.THROUGH)

    def _originated(self, passing: PassingOffer, decisions: Mapping[str, Decision]) -> list[Slot]:
        """Lines that our MF offers to the served user."""
        slots = []
        for media_id, decision in decisions.items():
            if decision.verdict is Verdict.ORIGINATE and decision.media is not None:
                passing.new_ids.add(media_id)
                if self._dc_allowed:
                    slots.append(Slot(kind=SlotKind.MF, media_id=media_id, mf=decision.media))
        return slots

    def _is_nothing_left(self, passing: PassingOffer) -> bool:
        """Whether refusing the lines in question leaves no reason to go on.

        For an initial offer: no line is left. For a later one: it changes nothing else.
        """
        if passing.is_initial:
            return all(slot.kind is SlotKind.DEAD for slot in passing.slots[passing.side])
        asked = {change.index for change in passing.changes.values()}
        return not passing.closed_ids and all(
            index in asked or slot.description is None or _says_the_same(slot.description, media)
            for index, (slot, media) in enumerate(
                zip(self._slots[passing.side], passing.offer.media, strict=False)
            )
        )

    # --- the answer comes ------------------------------------------------------------------------
    def finish(self, passing: PassingOffer, answer: SessionDescription) -> Answered:
        """Take the other leg's answer; from now on the new lines hold.

        Raises:
            RemoteProtocolError: the answer has not as many lines as the offer. Nothing changed;
                call ``undo``.
        """
        self._check_pending(passing)
        side, other = passing.side, passing.side.other
        ours, theirs = list(passing.slots[side]), list(passing.slots[other])
        if len(answer.media) != len(theirs):
            raise RemoteProtocolError(
                f"the answer has {len(answer.media)} lines, the offer had {len(theirs)}",
                source="RFC 3264 6",
            )
        answered: dict[str, LineEnd] = {}
        for index, media in enumerate(answer.media):
            slot = theirs[index]
            if slot.kind is SlotKind.MF:
                theirs[index] = _mf_answered(slot, media, answer, answered)
            elif slot.kind is SlotKind.THROUGH:
                user = try_read_media(media, answer) if media.is_data_channel else None
                theirs[index] = replace(slot, description=media, user=user)
        for index, slot in enumerate(ours):
            if slot.peer is not None and answer.media[slot.peer].is_rejected:
                ours[index] = theirs[slot.peer] = DEAD
        lines = [
            self._answer_line(slot, media, answer)
            for slot, media in zip(ours, passing.offer.media, strict=True)
        ]
        before = self.mf_ids | passing.new_ids
        self._slots = {side: tuple(ours), other: tuple(theirs)}
        self._pending = None
        return Answered(
            answer=self._send(side, answer, lines),
            answered=answered,
            dropped_ids=tuple(sorted(before - self.mf_ids)),
        )

    def undo(self, passing: PassingOffer) -> tuple[str, ...]:
        """Forget an offer that failed: everything is as before (RFC 3261 14.1).

        Returns:
            Media ids whose MF contexts were made for nothing.
        """
        if self._pending is passing:
            self._pending = None
        return tuple(sorted(passing.new_ids))

    # --- writing ---------------------------------------------------------------------------------
    def _offer_lines(self, passing: PassingOffer) -> list[MediaDescription]:
        """The other leg's lines: those that pass, and what our MF has there."""
        side, other = passing.side, passing.side.other
        offered = {
            slot.peer: media
            for slot, media in zip(passing.slots[side], passing.offer.media, strict=True)
            if slot.kind is SlotKind.THROUGH
        }
        lines = []
        for index, slot in enumerate(passing.slots[other]):
            if index in offered:
                lines.append(offered[index].without(E2DCE_ATTRIBUTE))
            elif slot.kind is SlotKind.MF and slot.mf is not None:
                lines.append(self._mf_line(slot.mf, Setup.ACTPASS))
            else:
                lines.append(_refusal(slot, self._last_sent.get(other), index))
        return lines

    def _answer_line(
        self, slot: Slot, offered: MediaDescription, answer: SessionDescription
    ) -> MediaDescription:
        if slot.kind is SlotKind.THROUGH and slot.peer is not None:
            return answer.media[slot.peer].without(E2DCE_ATTRIBUTE)
        if slot.kind is SlotKind.MF and slot.mf is not None:
            return self._mf_line(slot.mf, slot.mf.setup)
        return offered.rejected()

    def _mf_line(self, media: LineEnd, setup: Setup) -> MediaDescription:
        line = write_media(media, setup)
        return line.with_attribute(E2DCE_ATTRIBUTE, "applied") if self._marks_e2dce else line

    def _send(
        self, side: Side, source: SessionDescription, media: list[MediaDescription]
    ) -> SessionDescription:
        """Write a description for one leg; ``o=`` counts the changes on that leg (RFC 3264 8)."""
        body = replace(source, media=tuple(media)).with_origin(self._origin(0))
        last = self._last_sent.get(side)
        if last is not None and body != last:
            self._versions[side] += 1
        self._last_sent[side] = body
        return body.with_origin(self._origin(self._versions[side]))

    def _origin(self, version: int) -> Origin:
        return Origin.create(session_id=self._origin_id, version=version, address=self._origin_host)

    def _check_pending(self, passing: PassingOffer) -> None:
        if self._pending is not passing:
            raise LocalProtocolError("this offer is over")


def _says_the_same(old: MediaDescription, new: MediaDescription) -> bool:
    """Compare two lines of one user, but for what an answer and a re-offer write differently."""
    ignored = ("setup", E2DCE_ATTRIBUTE)
    return old.without(*ignored) == new.without(*ignored)


def _place(slot: Slot, index: int, media: MediaDescription, theirs: list[Slot]) -> Slot:
    """Give a line that passes its place on the other leg, and remember the user's line."""
    if slot.kind is not SlotKind.THROUGH:
        return slot
    peer = slot.peer
    if peer is None:
        peer = len(theirs)
        theirs.append(DEAD)
    theirs[peer] = replace(theirs[peer], kind=SlotKind.THROUGH, media_id=slot.media_id, peer=index)
    return replace(slot, peer=peer, description=media)


def _mf_answered(
    slot: Slot, media: MediaDescription, answer: SessionDescription, answered: dict[str, LineEnd]
) -> Slot:
    """Take the user's answer to a line that our MF offered."""
    user = None if media.is_rejected else try_read_media(media, answer)
    if user is None or slot.mf is None or user.setup is Setup.ACTPASS:
        return DEAD
    if slot.user is None or not is_same_side(slot.user, user):
        answered[slot.media_id] = user
    role = decide_setup(user.setup)
    return replace(slot, user=user, mf=replace(slot.mf, setup=role))


def _refusal(slot: Slot, last: SessionDescription | None, index: int) -> MediaDescription:
    """A place nobody uses keeps the kind of line it last had."""
    if last is not None and index < len(last.media):
        return last.media[index].rejected()
    return refused_media() if slot.description is None else slot.description.rejected()
