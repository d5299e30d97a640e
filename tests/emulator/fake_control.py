"""The HTTP half of the IMS AS, replaced by something a test can look into."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dcsdk.emulator.sbi.dc_control import (
    DcControlError,
    Decision,
    Initiator,
    LineEnd,
    SessionCase,
    SessionEvent,
    SessionInfo,
    Verdict,
)
from dcsdk.sdp.attributes import Setup
from tests.emulator.sdp import mf_media


class Log(list[tuple[str, str]]):
    """What happened; wakes who waits for more."""

    def __init__(self) -> None:
        super().__init__()
        self.grown = asyncio.Event()

    def append(self, item: tuple[str, str]) -> None:
        super().append(item)
        self.grown.set()


@dataclass
class FakeControl:
    """Ends stream ids below 1000 in the MF, lets the others pass, and gives callees a line.

    Attributes:
        log: what was asked, in order: (session case, what).
        contexts: media ids the MF has, by session.
        is_failing: every question fails.
        rejects: media of these stream ids is rejected.
    """

    log: Log = field(default_factory=lambda: Log())
    contexts: dict[str, set[str]] = field(default_factory=dict)
    cases: dict[str, str] = field(default_factory=dict)
    offered: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    answered: list[LineEnd] = field(default_factory=list)
    sessions: list[SessionInfo] = field(default_factory=list)
    is_failing: bool = False
    gives_callee_a_line: bool = True
    rejects: frozenset[int] = frozenset()

    async def session_establishment(
        self, session: SessionInfo, offered: Mapping[str, LineEnd]
    ) -> Mapping[str, Decision]:
        case = "orig" if session.session_case is SessionCase.ORIGINATING else "term"
        self.cases[session.session_id] = case
        self.contexts[session.session_id] = set()
        self.sessions.append(session)
        self.log.append((case, "establish"))
        decisions = self._decide(session.session_id, offered)
        if case == "term" and self.gives_callee_a_line:
            media = mf_media(0, port=41_002, setup=Setup.ACTPASS)
            decisions["local"] = Decision(verdict=Verdict.ORIGINATE, media=media)
            self.contexts[session.session_id].add("local")
        return decisions

    async def media_change(
        self, session_id: str, initiator: Initiator, offered: Mapping[str, LineEnd]
    ) -> Mapping[str, Decision]:
        self.log.append((self.cases[session_id], f"change by {initiator.name}"))
        return self._decide(session_id, offered)

    async def media_answered(self, session_id: str, media_id: str, answer: LineEnd) -> None:
        self.log.append((self.cases[session_id], f"answered {media_id}"))
        self.answered.append(answer)

    async def delete_media(self, session_id: str, media_ids: Sequence[str]) -> None:
        self.log.append((self.cases[session_id], "delete"))
        self.contexts[session_id] -= set(media_ids)

    async def notify(
        self, session_id: str, event: SessionEvent, initiator: Initiator = Initiator.SERVED
    ) -> None:
        self.log.append((self.cases[session_id], event.name))

    async def session_ended(
        self, session_id: str, initiator: Initiator, *, is_failure: bool = False
    ) -> None:
        what = "failed" if is_failure else "ended"
        self.contexts.pop(session_id, None)
        self.log.append((self.cases.get(session_id, "-"), f"{what} by {initiator.name}"))

    async def until(self, condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Wait until something is true; looked at after each thing that happens here."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.log.grown.clear()
                await self.log.grown.wait()

    def of(self, case: str) -> list[str]:
        """What happened on one side of the call."""
        return [what for whose, what in self.log if whose == case]

    def _decide(self, session_id: str, offered: Mapping[str, LineEnd]) -> dict[str, Decision]:
        if self.is_failing:
            raise DcControlError("the DCSF is asleep")
        decisions = {}
        for media_id, media in offered.items():
            ids = tuple(stream.stream_id for stream in media.streams)
            self.offered.append((self.cases[session_id], ids))
            if self.rejects & set(ids):
                decisions[media_id] = Decision(verdict=Verdict.REJECT)
            elif min(ids) >= 1000:
                decisions[media_id] = Decision(verdict=Verdict.FORWARD)
            else:
                decisions[media_id] = Decision(verdict=Verdict.TERMINATE, media=mf_media(*ids))
                self.contexts[session_id].add(media_id)
        return decisions
