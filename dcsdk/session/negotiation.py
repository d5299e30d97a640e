"""Offer and answer: the m-lines of one dialog <-> SDP (RFC 3264).

A line keeps its place for the life of the dialog; a refused or ended one stays with port 0 until a
new one takes its place. The session decides what is asked and taken; media and backends write and
read their parts; here descriptions are put together, taken apart, and take effect.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcsdk.errors import (
    LocalProtocolError,
    NegotiationError,
    RemoteProtocolError,
    SecurityError,
    TransportError,
    UnsupportedByPeer,
)
from dcsdk.ims.security_policy import SecurityPolicy
from dcsdk.interfaces.media import LineBase, MediaBody, MediaIntent, RequestId, Review
from dcsdk.interfaces.security import Agreement
from dcsdk.interfaces.values import Attributes
from dcsdk.sdp.lines import Connection, Origin
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.offer_answer import check_answer_shape, check_reoffer_shape
from dcsdk.sdp.session import SessionDescription
from dcsdk.security import SecurityScope
from dcsdk.session.exchange import (
    End,
    Exchange,
    Keep,
    LinePlan,
    New,
    Outcome,
    Refuse,
    Renewal,
    Replace,
    Step,
    release,
    rollback,
)
from dcsdk.session.line import MediaLine, RefusedLine
from dcsdk.session.line_paths import LinePaths, RemoteEnd
from dcsdk.session.services import LineMaker
from dcsdk.session.transport_group import TransportGroup

logger = logging.getLogger(__name__)

Slot = MediaLine | RefusedLine


@dataclass(slots=True, kw_only=True)
class OfferedLine:
    """What one line of the peer's offer asks for.

    Attributes:
        index: place of the line.
        description: as offered.
        line: ours, a new one for a new line; ``None`` for one that is answered with port 0.
        is_new: the line is not there yet.
        review: what the medium read.
        security: what the backend read.
        refused: why requests, or the whole line, are refused without asking, for the log.
    """

    index: int
    description: MediaDescription
    line: MediaLine | None = None
    is_new: bool = False
    review: Review | None = None
    security: Any = None
    refused: tuple[str, ...] = ()


class Negotiation:
    """The m-lines of one dialog and the descriptions made of them.

    Args:
        host: for ``o=`` and the session's ``c=``.
        session_id: for ``o=``.
        maker: makes lines.
        policy: decides scopes, writes indications.

    Attributes:
        slots: the m-lines in their places; a :class:`RefusedLine` is one without us.
        asserted_identity: who the network says the peer is, or ``None``.
    """

    def __init__(
        self, *, host: str, session_id: int, maker: LineMaker, policy: SecurityPolicy
    ) -> None:
        self.slots: list[Slot] = []
        self._host = host
        self._origin = Origin.create(session_id=session_id, version=0, address=host)
        self._maker = maker
        self._policy = policy
        self._ended: set[int] = set()
        self.asserted_identity: str | None = None

    @property
    def lines(self) -> list[MediaLine]:
        """The lines that are up."""
        return [slot for slot in self.slots if isinstance(slot, MediaLine) and slot.is_up]

    @property
    def known_lines(self) -> list[MediaLine]:
        """All lines of ours, ended ones included."""
        return [slot for slot in self.slots if isinstance(slot, MediaLine)]

    def index(self, line: MediaLine) -> int:
        """Return the place of a line.

        Raises:
            ValueError: it has none.
        """
        return self.slots.index(line)

    # --- we offer --------------------------------------------------------------------------------
    async def offer(self, plans: Collection[LinePlan]) -> Exchange:
        """Prepare an offer of all lines.

        Args:
            plans: for the lines that differ from what stands: new ones get a place.

        Raises:
            ConfigError: what is asked for cannot be offered.
            TransportError: an address cannot be bound.
        """
        steps: list[Step] = []
        placed = self._placed(plans)
        try:
            for plan in placed:
                steps.append(await self._offer_step(plan))
        except BaseException:
            left = [Step(plan=plan, described=EMPTY) for plan in placed[len(steps) + 1 :]]
            await rollback([*steps, *left])
            raise
        return Exchange(description=self._write(steps), steps=steps, is_offerer=True)

    def _placed(self, plans: Collection[LinePlan]) -> list[LinePlan]:
        """Return one plan for each m-line, in order (RFC 3264 8.1)."""
        by_line: dict[MediaLine, LinePlan] = {}
        fresh: list[LinePlan] = []
        for plan in plans:
            match plan:
                case New():
                    fresh.append(plan)
                case Replace():
                    by_line[plan.old] = plan
                case Keep() | End():
                    by_line[plan.line] = plan
        placed: list[LinePlan] = []
        for index, slot in enumerate(self.slots):
            if isinstance(slot, MediaLine) and not slot.is_ended:
                placed.append(by_line.get(slot, Keep(slot)))
            elif index in self._ended and fresh:
                placed.append(fresh.pop(0))  # a place that both sides know as free
            else:
                placed.append(Refuse(self._last_description(slot)))
        return [*placed, *fresh]

    @staticmethod
    def _last_description(slot: Slot) -> MediaDescription:
        if isinstance(slot, RefusedLine):
            return slot.description
        if slot.description is None:
            raise LocalProtocolError("a line has a place and was never described")
        return slot.description.rejected()

    async def _offer_step(self, plan: LinePlan) -> Step:
        match plan:
            case Refuse():
                return Step(plan=plan, described=plan.description.rejected())
            case End():
                return Step(plan=plan, described=self._last_description(plan.line))
        line, group = plan.line, plan.line.group
        renewal = plan.renewal if isinstance(plan, Keep) else Renewal.NOTHING
        step = Step(plan=plan, described=EMPTY, change=plan.change)
        current: Agreement | None = None
        try:
            if group is None or renewal is Renewal.SECURITY:
                step.paths = self._maker.bind(line)
            else:
                current = group.agreement
            paths = step.paths or (group.paths if group is not None else None)
            if paths is None:
                raise LocalProtocolError("a line without a path cannot be offered")
            if renewal is Renewal.ICE:
                paths.prepare_restart()
            if renewal is Renewal.SECURITY and group is not None:
                group.require_renewable()
            step.pending = await line.backend.offer(
                line.intent, line.context_at(paths.address), current
            )
            base = LineBase(address=paths.address, is_offer=True)
            indications = self._policy.indications(line.kind, line.wanted, self._maker.registered())
            step.described = describe(
                line,
                paths,
                line.media.describe(base, step.change),
                (*step.pending.attributes, *indications),
            )
        except BaseException:
            await rollback([step])
            raise
        return step

    async def take_answer(self, exchange: Exchange, answer: SessionDescription) -> Outcome:
        """Check the answer to our offer and let both take effect.

        Returns:
            What is to be started and closed now.

        Raises:
            RemoteProtocolError: the answer breaks a rule; nothing may be sent on media.
            SecurityError: it means less security than was asked for.
            NegotiationError: the peer wants what we cannot do.
        """
        check_answer_shape(exchange.description, answer)
        for step, description in zip(exchange.steps, answer.media, strict=True):
            await self._agree(step, description, answer)
        return await self._commit(exchange, answer)

    async def _agree(
        self, step: Step, answer: MediaDescription, session: SessionDescription
    ) -> None:
        line = step.line
        if line is None or step.pending is None:
            if not answer.is_rejected:
                raise RemoteProtocolError(
                    "the answer takes an m= line that was offered with port 0",
                    source="RFC 3264 6",
                )
            return
        if answer.is_rejected or line.is_ended:
            await self._refused(step)
            return
        agreement = await step.pending.agree(step.described, answer, session)
        try:
            change = line.media.accept(step.described, answer, session, step.change)
        except UnsupportedByPeer:
            await self._refused(step)
            return
        step.agreement, step.change = agreement, change
        paths = step.paths or (line.group.paths if line.group is not None else None)
        if paths is None:
            raise LocalProtocolError("a line without a path was answered")
        step.remote = paths.read(answer, session)
        if agreement.renewal is not None and step.paths is None and line.group is not None:
            # Ours stays, the peer moved: its packets and those of the old association are told
            # apart by the address they come from.
            self._check_renewable(line.group, keeps_ice=paths.runs_ice)
            if step.remote.address == line.group.remote.address:
                raise NegotiationError(
                    "the answer wants a new DTLS association on the address of the old one",
                    source="RFC 8842 3.1",
                )
            step.paths = paths.fork()

    @staticmethod
    async def _refused(step: Step) -> None:
        """A line does not come about: the peer did not take it, or it has ended."""
        line = step.line
        if line is not None and step.change is not None:
            line.media.forget(step.change)
        step.change = None
        await release(step)
        step.pending = step.paths = None
        plan = step.plan
        step.plan = Refuse(step.described.rejected())
        if isinstance(plan, New | Replace):
            await plan.line.aclose(0.0)

    # --- the peer offers -------------------------------------------------------------------------
    async def review(
        self, offer: SessionDescription, wanted: Sequence[MediaIntent] = ()
    ) -> list[OfferedLine]:
        """Sort what an offer asks for, line by line. Nothing changes.

        Lines of ours that are new with it end with :meth:`drop` or with the exchange.

        Args:
            offer: from the peer.
            wanted: what the program said of lines it takes.

        Raises:
            RemoteProtocolError: the offer as a whole breaks a rule.
        """
        check_reoffer_shape(len(self.slots), offer)
        return [
            await self._review_line(index, description, offer, wanted)
            for index, description in enumerate(offer.media)
        ]

    async def _review_line(
        self,
        index: int,
        description: MediaDescription,
        offer: SessionDescription,
        wanted: Sequence[MediaIntent],
    ) -> OfferedLine:
        item = OfferedLine(index=index, description=description)
        if description.is_rejected:
            return item
        slot = self.slots[index] if index < len(self.slots) else None
        if isinstance(slot, MediaLine) and slot.is_up and slot.takes(description):
            line = slot
        else:
            item.is_new = True
            try:
                line = self._maker.line_for_offer(description, offer, wanted)
            except NegotiationError as exc:
                item.refused = (str(exc),)
                return item
        try:
            context = line.context_at((self._host, 0))
            item.security = line.backend.review(description, offer, context)
            item.review = line.media.review(description, offer)
        except (RemoteProtocolError, SecurityError) as exc:
            item.refused = (str(exc),)
        else:
            item.refused = item.review.refusals
        is_refused = item.review is None or item.review.is_refused
        if is_refused and item.is_new:
            await line.aclose(0.0)
        if not is_refused:
            item.line = line
        return item

    @staticmethod
    async def drop(offered: Sequence[OfferedLine]) -> None:
        """End the lines that were made for an offer that is not answered."""
        for item in offered:
            if item.is_new and item.line is not None:
                await item.line.aclose(0.0)

    async def answer(
        self,
        offered: Sequence[OfferedLine],
        offer: SessionDescription,
        taken: Mapping[int, Collection[RequestId]],
    ) -> Exchange:
        """Prepare the answer.

        Args:
            offered: from :meth:`review`.
            offer: the offer itself.
            taken: by index, the requests that are taken; a line that is not in it is refused.

        Raises:
            RemoteProtocolError: the offer breaks a rule.
            SecurityError: the peer is not who it should be.
            NegotiationError: the peer wants what we cannot do.
        """
        steps: list[Step] = []
        try:
            for item in offered:
                line = item.line
                is_over = line is None or line.is_ended or item.review is None
                if is_over or item.index not in taken:
                    refused = Refuse(item.description.rejected())
                    steps.append(Step(plan=refused, described=refused.description))
                    if item.is_new and item.line is not None:
                        await item.line.aclose(0.0)
                else:
                    steps.append(await self._answer_step(item, offer, taken[item.index]))
        except BaseException:
            await rollback(steps)
            await self.drop(offered[len(steps) :])
            raise
        return Exchange(description=self._write(steps), steps=steps, is_offerer=False)

    async def _answer_step(
        self, item: OfferedLine, offer: SessionDescription, taken: Collection[RequestId]
    ) -> Step:
        line, review = item.line, item.review
        if line is None or review is None:
            raise LocalProtocolError("a refused line cannot be answered")
        step = Step(plan=self._plan_for(item, line), described=EMPTY)
        group = line.group
        try:
            current: Agreement | None = None
            if group is None:
                paths = step.paths = self._maker.bind(line)
                step.remote = paths.read(item.description, offer)
            else:
                paths, current = group.paths, group.agreement
                step.remote = paths.read(item.description, offer)
                reason = line.backend.renewal(item.security, current)
                if reason is None:
                    paths.prepare_answer(step.remote)
                else:
                    logger.info("line=%d new association: %s", item.index, reason)
                    self._check_renewable(group, keeps_ice=paths.keeps_ice(step.remote))
                    paths, current = self._maker.bind(line), None
                    step.paths = paths
                    step.remote = paths.read(item.description, offer)
            context = line.context_at(paths.address)
            step.answered = await line.backend.answer(item.security, line.intent, context, current)
            step.agreement = step.answered.agreement
            base = LineBase(
                address=paths.address,
                is_offer=False,
                offered=item.description,
            )
            step.change = await line.media.choose(review, taken, base)
            step.described = describe(
                line,
                paths,
                line.media.describe(base, step.change),
                step.answered.attributes,
                offered=item.description,
                remote=step.remote,
            )
            step.claimed = self._policy.scope_of_answer(
                line.kind, item.description, step.agreement.proof, self._maker.registered()
            )
        except BaseException:
            await rollback([step])
            raise
        return step

    def _plan_for(self, item: OfferedLine, line: MediaLine) -> LinePlan:
        if not item.is_new:
            return Keep(line)
        slot = self.slots[item.index] if item.index < len(self.slots) else None
        if isinstance(slot, MediaLine) and slot.is_up:
            return Replace(slot, line)
        return New(line)

    @staticmethod
    def _check_renewable(group: TransportGroup, *, keeps_ice: bool) -> None:
        """Refuse a new association where it cannot be had.

        With ICE, old and new packets are told apart by candidates of which one side at least has a
        set that is new, and a side has one only by an ICE restart that the offer begins.

        Raises:
            NegotiationError: old and new packets could not be told apart, or the transport cannot
                be renewed.
        """
        if not group.transport.is_renewable:
            raise NegotiationError(
                "the peer wants a new association, which this transport cannot move to",
                source="RFC 8842 3.1",
            )
        if keeps_ice:
            raise NegotiationError(
                "the peer wants a new DTLS association on a path that ICE chose, and the offer "
                "does not restart ICE",
                source="RFC 8842 6",
            )

    async def commit_answer(self, exchange: Exchange) -> Outcome:
        """Our answer is through: let both descriptions take effect."""
        return await self._commit(exchange, exchange.description)

    # --- both ------------------------------------------------------------------------------------
    async def _commit(self, exchange: Exchange, answer: SessionDescription) -> Outcome:
        # A line may have ended while the descriptions were under way: it stays ended.
        while ended := [item for item in exchange.steps if item.line and item.line.is_ended]:
            for item in ended:
                await self._refused(item)
        exchange.committed()
        outcome = Outcome()
        slots: list[Slot] = []
        for index, step in enumerate(exchange.steps):
            old = self.slots[index] if index < len(self.slots) else None
            if isinstance(old, MediaLine) and old is not step.line and not old.is_ended:
                old.end()
                outcome.ended.append(old)
            slots.append(self._commit_step(step, outcome, exchange))
        self.slots = slots
        self._ended = {index for index, media in enumerate(answer.media) if media.is_rejected}
        return outcome

    def _commit_step(self, step: Step, outcome: Outcome, exchange: Exchange) -> Slot:
        line, agreement, remote = step.line, step.agreement, step.remote
        if line is None or agreement is None or remote is None:
            return RefusedLine.of(step.described)
        line.description = step.described
        group = line.group
        if group is None:
            if step.paths is None:
                raise LocalProtocolError("a new line has no paths")
            group = TransportGroup(
                line.backend,
                line.context_at(step.paths.address),
                step.paths,
                agreement,
                remote,
                is_offerer=exchange.is_offerer,
            )
            transport = line.join(group)
            outcome.fresh.append(line)
            outcome.started.append(group)
        else:
            transport = line.transport
            if step.paths is not None:
                try:
                    group.renew(step.paths, agreement, remote)
                except TransportError as exc:  # it has just ended: whoever waits for it will see
                    logger.warning("kind=%s not renewed: %s", line.kind, exc)
                outcome.started.append(group)
            else:
                group.follow(agreement, remote)
        scope, reason = self._scope(line, agreement, step)
        is_new = group in outcome.started and line in outcome.fresh
        if is_new or (group in outcome.started and scope is SecurityScope.NETWORK_DECIDES):
            group.claim(scope, reason, identity=self.asserted_identity)
        line.media.commit(step.change, transport)
        return line

    def _scope(
        self, line: MediaLine, agreement: Agreement, step: Step
    ) -> tuple[SecurityScope, str]:
        if step.claimed is not None:
            return step.claimed
        return self._policy.scope_of_offer(
            line.kind, line.wanted, agreement.proof, self._maker.registered()
        )

    def _write(self, steps: Sequence[Step]) -> SessionDescription:
        self._origin = self._origin.bumped()
        attributes: dict[tuple[str, str | None], None] = {}
        for step in steps:
            line = step.line
            if line is not None:
                paths = step.paths or (line.group.paths if line.group is not None else None)
                attributes |= dict.fromkeys(
                    paths.session_attributes(step.remote) if paths is not None else ()
                )
        return SessionDescription.create(
            origin=self._origin,
            connection=Connection.create(self._host),
            attributes=attributes,
            media=[step.described for step in steps],
        )


EMPTY = MediaDescription(media="application", port=0, proto="UDP", formats=("0",))
"""Stands in a step until its line is described."""


def describe(
    line: MediaLine,
    paths: LinePaths,
    body: MediaBody,
    attributes: Attributes,
    *,
    offered: MediaDescription | None = None,
    remote: RemoteEnd | None = None,
) -> MediaDescription:
    """Put one m-line together: who writes what stands in the interfaces.

    Args:
        line: whose it is.
        paths: that it announces.
        body: of the medium.
        attributes: of the backend, and indications.
        offered: the line that this answers; ``None`` in an offer.
        remote: the end that offered it; ``None`` in an offer.
    """
    is_muxed = offered is not None and offered.has("rtcp-mux")
    host, port = paths.address
    return MediaDescription.create(
        media=body.media if offered is None else offered.media,
        port=port,
        proto=line.backend.proto(body.proto) if offered is None else offered.proto,
        formats=body.formats,
        connection=Connection.create(host),
        bandwidths=body.bandwidths,
        attributes=(
            *attributes,
            *paths.attributes(is_muxed=is_muxed, remote=remote),
            *line.intent.attributes,
            *body.attributes,
        ),
    )


def refuse_if_nothing_left(offered: Sequence[OfferedLine], taken: Collection[int]) -> None:
    """Refuse an initial offer of which no line can be taken.

    Args:
        offered: from :meth:`Negotiation.review`.
        taken: the indices of lines that are taken.

    Raises:
        NegotiationError: every line is refused; the answer is 488 (RFC 3261 21.4.26).
    """
    if offered and not taken:
        why = "; ".join(reason for item in offered for reason in item.refused)
        raise NegotiationError(f"no m= line of the offer can be taken: {why or 'all refused'}")
