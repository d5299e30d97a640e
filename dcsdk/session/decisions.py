"""What is taken of an offer: what needs no question, and what the program decided."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, TypeVar
from weakref import WeakSet

from dcsdk.datachannel.request import ChannelRequest
from dcsdk.interfaces.media import RequestId
from dcsdk.io.request import PendingRequest
from dcsdk.session.line_request import LineRequest
from dcsdk.session.negotiation import OfferedLine, refuse_if_nothing_left

logger = logging.getLogger(__name__)

MAX_WAITING_REQUESTS = 64
"""Requests that wait for ``incoming()``; further ones are refused."""

WHOLE_LINE: RequestId = ""
"""The request for a line of a medium that asks for nothing in particular."""

Request = TypeVar("Request", bound=PendingRequest)


class IncomingRequests:
    """What the other side asks for, on its way to the program."""

    def __init__(self) -> None:
        self._channels: asyncio.Queue[ChannelRequest | None] = asyncio.Queue()
        self._lines: asyncio.Queue[LineRequest | None] = asyncio.Queue()
        self._asked: WeakSet[PendingRequest] = WeakSet()

    def channels(self) -> AsyncIterator[ChannelRequest]:
        """Yield requests for channels, until the call ends."""
        return _waiting(self._channels)

    def lines(self) -> AsyncIterator[LineRequest]:
        """Yield requests for whole lines, until the call ends."""
        return _waiting(self._lines)

    def end(self) -> None:
        """The call is over."""
        self._channels.put_nowait(None)
        self._lines.put_nowait(None)

    def fail_all(self, error: Exception) -> None:
        """Nothing that was asked for comes up any more."""
        for request in tuple(self._asked):
            request.fail(error)

    def ask(self, offered: Sequence[OfferedLine]) -> dict[int, dict[RequestId, PendingRequest]]:
        """Ask the program about each new thing that needs a question, by line."""
        asked: dict[int, dict[RequestId, PendingRequest]] = {}
        for item in offered:
            if item.line is None or item.review is None:
                continue
            requests: dict[RequestId, Any] = dict(item.review.requests)
            if item.is_new and not requests and not item.review.granted:
                requests = {WHOLE_LINE: LineRequest(item.index, item.line)}
            asked[item.index] = requests
            for request in requests.values():
                self._asked.add(request)
                queue: asyncio.Queue[Any] = self._channels
                if isinstance(request, LineRequest):
                    queue = self._lines
                if queue.qsize() < MAX_WAITING_REQUESTS:
                    queue.put_nowait(request)
                else:
                    request.refuse()
        return asked


def taken_first(
    offered: Sequence[OfferedLine], kinds: Collection[str]
) -> dict[int, Collection[RequestId]]:
    """Return the lines of an INVITE that are answered with a port, and what is taken of each.

    Args:
        offered: of the offer.
        kinds: media that the program takes; what needs no question is taken in any case.

    Raises:
        NegotiationError: nothing is left.
    """
    taken: dict[int, Collection[RequestId]] = {}
    for item in offered:
        for reason in item.refused:
            logger.info("line=%d refused: %s", item.index, reason)
        if item.line is None or item.review is None:
            continue
        review, is_wanted = item.review, item.line.kind in kinds
        if is_wanted:
            taken[item.index] = {*review.granted, *review.requests}
        elif review.granted:
            taken[item.index] = review.granted
    refuse_if_nothing_left(offered, taken)
    return taken


def taken_of(
    offered: Sequence[OfferedLine], asked: dict[int, dict[RequestId, PendingRequest]]
) -> dict[int, Collection[RequestId]]:
    """Return the lines that are answered with a port, and what is taken of each."""
    taken: dict[int, Collection[RequestId]] = {}
    for item in offered:
        if item.line is None or item.review is None:
            continue
        accepted = {key for key, request in asked[item.index].items() if request.is_accepted}
        if not item.is_new or accepted or item.review.granted:
            taken[item.index] = {*accepted, *item.review.granted}
    return taken


async def _waiting(queue: asyncio.Queue[Request | None]) -> AsyncIterator[Request]:
    """Yield what still waits for a decision, until the queue ends."""
    while (request := await queue.get()) is not None:
        if request.is_waiting:  # not given up meanwhile: glare, a time-out, a broken offer
            yield request
    queue.put_nowait(None)  # for the next reader: it ends as well
