"""Offer and answer: the m-lines of one dialog <-> SDP (RFC 3264, RFC 8864 6).

A line keeps its place for the life of the dialog; a refused or ended one stays with port 0 until a
new one takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from dcsdk.errors import LocalProtocolError, NegotiationError, RemoteProtocolError
from dcsdk.sdp.data_channel import (
    BOOTSTRAP_STREAM_IDS,
    DataChannelLine,
    LinePolicy,
    LineRefused,
    check_offer,
)
from dcsdk.sdp.dcmap import MAX_STREAM_ID, Dcmap
from dcsdk.sdp.lines import Connection, Origin
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.offer_answer import check_answer_shape, check_reoffer_shape
from dcsdk.sdp.session import SessionDescription
from dcsdk.session.line import LineRole, MediaLine, RefusedLine


@dataclass(slots=True, kw_only=True)
class OfferedLine:
    """What one line of the peer's offer asks for.

    Attributes:
        index: place of the line.
        description: as offered.
        line: ours, or ``None`` for a new line.
        offered: what the line says, or ``None`` for one that is answered with port 0.
        new: channels to accept or refuse.
        refused: why channels, or the whole line, are refused without asking, for the log.
    """

    index: int
    description: MediaDescription
    line: MediaLine | None = None
    offered: DataChannelLine | None = None
    new: tuple[Dcmap, ...] = ()
    refused: tuple[str, ...] = field(default_factory=tuple)

    @property
    def role(self) -> LineRole:
        """Bootstrap when every channel has a bootstrap id (TS 26.114 Table 6.2.10.1-2)."""
        if self.line is not None:
            return self.line.role
        is_bootstrap = all(dcmap.stream_id in BOOTSTRAP_STREAM_IDS for dcmap in self.new)
        return LineRole.BOOTSTRAP if is_bootstrap else LineRole.APPLICATION


class Negotiation:
    """The m-lines of one dialog and the descriptions made of them.

    Args:
        host: for ``o=`` and the session's ``c=``.
        session_id: for ``o=``.
        policy: what we take from a peer where the standards leave room.

    Attributes:
        lines: in their places; a :class:`RefusedLine` is one we never take part in.
    """

    def __init__(self, *, host: str, session_id: int, policy: LinePolicy) -> None:
        self.lines: list[MediaLine | RefusedLine] = []
        self._host = host
        self._origin = Origin.create(session_id=session_id, version=0, address=host)
        self._policy = policy
        self._offer: SessionDescription | None = None
        self._before_offer: list[MediaLine | RefusedLine] = []
        self._ended: set[int] = set()
        self._fresh_id = 0  # neither this stream id nor any above it was given up lately

    @property
    def media_lines(self) -> list[MediaLine]:
        """The lines we take part in, closed ones included."""
        return [line for line in self.lines if isinstance(line, MediaLine)]

    def lines_up(self) -> list[tuple[int, MediaLine]]:
        """The lines that are agreed and not closed, each with its place."""
        return [
            (index, line)
            for index, line in enumerate(self.lines)
            if isinstance(line, MediaLine) and line.is_agreed and not line.is_closed
        ]

    def next_stream_id(self, first: int) -> int:
        """Choose the id of a channel that we ask for.

        Args:
            first: the lowest id to take, 0..65534.

        Raises:
            LocalProtocolError: every id is in use.
        """
        used = {stream_id for line in self.media_lines for stream_id in line.channels}
        end = MAX_STREAM_ID + 1
        for stream_id in chain(range(max(first, self._fresh_id), end), range(first, end)):
            if stream_id not in used:
                return stream_id
        raise LocalProtocolError("every stream id is in use", source="RFC 8864 6.1")

    def give_up_stream_id(self, stream_id: int) -> None:
        """Take an id again only when those above it had their turn.

        Its stream is still being reset (RFC 8831 6.7), or the peer, which never had a channel on
        it, has noted a reset for the one that may come.
        """
        self._fresh_id = stream_id + 1

    def _session(self, media: Sequence[MediaDescription]) -> SessionDescription:
        self._origin = self._origin.bumped()
        attributes = dict.fromkeys(
            attribute for line in self.media_lines for attribute in line.session_attributes
        )
        return SessionDescription.create(
            origin=self._origin,
            connection=Connection.create(self._host),
            attributes=attributes,
            media=media,
        )

    def _place(self, line: MediaLine) -> None:
        """Give a new line a place: one that both sides know as ended, else the next.

        Source: RFC 3264 8.1.
        """
        for index, old in enumerate(self.lines):
            if index in self._ended and (isinstance(old, RefusedLine) or old.is_closed):
                self.lines[index] = line
                return
        self.lines.append(line)

    def _note_ended(self, answer: SessionDescription) -> None:
        self._ended = {index for index, media in enumerate(answer.media) if media.is_rejected}

    # --- we offer --------------------------------------------------------------------------------
    async def offer(self, changes: Mapping[MediaLine, Sequence[Dcmap]]) -> SessionDescription:
        """Write an offer of all lines.

        Args:
            changes: new channels per line; a line that has no place yet gets one.
        """
        self._before_offer = list(self.lines)
        for line in changes:
            if line not in self.lines:
                self._place(line)
        self._offer = self._session(
            [
                await line.offer(changes.get(line, ()))
                if isinstance(line, MediaLine) and not line.is_closed
                else line.description
                for line in self.lines
            ]
        )
        return self._offer

    async def take_answer(
        self, answer: SessionDescription, changes: Mapping[MediaLine, Sequence[Dcmap]]
    ) -> list[MediaLine]:
        """Act on the answer to :meth:`offer`.

        Returns:
            The lines that are agreed for the first time or anew; start them.

        Raises:
            RemoteProtocolError: the answer breaks a rule; nothing may be sent on media.
            SecurityError: the answer means less security than was asked for.
            NegotiationError: the peer wants what we cannot do.
        """
        if self._offer is None:
            raise LocalProtocolError("nothing was offered", source="RFC 3264 6")
        check_answer_shape(self._offer, answer)
        self._note_ended(answer)
        fresh = []
        for line, description in zip(self.lines, answer.media, strict=True):
            if isinstance(line, RefusedLine) or line.is_closed:
                if not description.is_rejected:
                    raise RemoteProtocolError(
                        "the answer takes an m= line that was offered with port 0",
                        source="RFC 3264 6",
                    )
                continue
            was_agreed = line.is_agreed
            await line.take_answer(description, answer, changes.get(line, ()))
            if line.is_restarting or (line.is_agreed and not was_agreed):
                fresh.append(line)
        return fresh

    def forget_offer(self, changes: Mapping[MediaLine, Sequence[Dcmap]]) -> list[MediaLine]:
        """The offer was refused as a whole; the session stays as it was (RFC 3261 14.1).

        Returns:
            Lines that were new in the offer and are out of the list again; close them.
        """
        for line, new in changes.items():
            line.forget_offer(new)
        self.lines = self._before_offer
        return [line for line in changes if not line.is_agreed]

    # --- the peer offers -------------------------------------------------------------------------
    def review(self, offer: SessionDescription, *, dc_allowed: bool) -> list[OfferedLine]:
        """Sort what an offer asks for, line by line. Nothing changes.

        Args:
            offer: from the peer.
            dc_allowed: ``False`` refuses every data channel line.

        Raises:
            RemoteProtocolError: the offer as a whole breaks a rule.
        """
        check_reoffer_shape(len(self.lines), offer)
        return [
            self._review_line(index, description, offer, dc_allowed=dc_allowed)
            for index, description in enumerate(offer.media)
        ]

    def _review_line(
        self,
        index: int,
        description: MediaDescription,
        offer: SessionDescription,
        *,
        dc_allowed: bool,
    ) -> OfferedLine:
        offered = OfferedLine(index=index, description=description)
        known = self.lines[index] if index < len(self.lines) else None
        if isinstance(known, MediaLine) and not known.is_closed:
            offered.line = known
        if not dc_allowed or not description.is_data_channel:
            return offered
        check = check_offer(description, offer, self._policy)
        if isinstance(check, LineRefused):
            offered.refused = (str(check.error),)
        elif isinstance(check, DataChannelLine):
            open_ids = offered.line.channels.keys() if offered.line is not None else ()
            offered.refused = tuple(refusal.reason for refusal in check.refused)
            offered.new = tuple(d for d in check.channels if d.stream_id not in open_ids)
            if offered.line is not None or offered.new:
                offered.offered = check
        return offered

    async def answer(
        self,
        offered: Sequence[OfferedLine],
        offer: SessionDescription,
        accepted: Mapping[int, tuple[MediaLine, Sequence[Dcmap]]],
    ) -> tuple[SessionDescription, list[MediaLine]]:
        """Write the answer.

        Args:
            offered: from :meth:`review`.
            offer: the offer itself.
            accepted: by index: our line (a new one for a new line) and the channels we take.

        Returns:
            The answer, and the lines that are agreed for the first time or anew; start them once
            the answer is through.

        Raises:
            RemoteProtocolError: the offer breaks a rule.
            SecurityError: a line carries no usable fingerprint.
            NegotiationError: the peer wants what we cannot do.
        """
        media: list[MediaDescription] = []
        lines: list[MediaLine | RefusedLine] = []
        fresh: list[MediaLine] = []
        for item in offered:
            line, channels = accepted.get(item.index, (item.line, ()))
            if item.offered is None or line is None:
                if item.line is not None:
                    await item.line.close()
                refused = RefusedLine.of(item.description)
                lines.append(item.line or refused)
                media.append(refused.description)
                continue
            was_agreed = line.is_agreed
            media.append(await line.answer(item.description, offer, item.offered, channels))
            lines.append(line)
            if line.is_restarting or not was_agreed:
                fresh.append(line)
        self.lines = lines
        answer = self._session(media)
        self._note_ended(answer)
        return answer, fresh


def refuse_if_nothing_left(offered: Sequence[OfferedLine]) -> None:
    """Refuse an initial offer of which no line can be taken.

    Raises:
        NegotiationError: every line is refused; the answer is 488 (RFC 3261 21.4.26).
    """
    if offered and all(item.offered is None for item in offered):
        why = "; ".join(reason for item in offered for reason in item.refused)
        raise NegotiationError(f"no m= line of the offer can be taken: {why or 'all refused'}")
