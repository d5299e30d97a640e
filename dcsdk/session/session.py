"""One call: a dialog, its media lines and the data channels on them."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from dcsdk.datachannel.bootstrap import Bootstrap
from dcsdk.datachannel.request import ChannelRequest, wait_decided
from dcsdk.errors import (
    CallRejected,
    DcsdkError,
    LocalProtocolError,
    SignallingError,
    TransportError,
    UnsupportedByPeer,
)
from dcsdk.events import SessionEnded, StreamClosed, StreamSecured
from dcsdk.interfaces import AssociationStats, MediaIntent, Reoffer, SignallingDialog
from dcsdk.io.deadline import Deadline
from dcsdk.io.tasks import TaskSet, finish_all
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.sdp.ims_attributes import ReqApp
from dcsdk.security import SecurityScope
from dcsdk.session.line import LineRole, MediaLine
from dcsdk.session.negotiation import Negotiation, OfferedLine, refuse_if_nothing_left
from dcsdk.session.stream import Stream as Stream

if TYPE_CHECKING:
    from dcsdk.sdp.fingerprint import Fingerprint
    from dcsdk.sdp.session import SessionDescription
    from dcsdk.session.services import SessionServices

logger = logging.getLogger(__name__)

MAX_WAITING_REQUESTS = 64
"""Channel requests that wait for ``incoming()``; further ones are refused."""

MAX_GLARE_RETRIES = 5
"""Offers made again after 491 before it counts as refused."""


class Session:
    """A call that is up. ``async with session`` hangs up at the end.

    Made by :meth:`dcsdk.Client.call` and :meth:`dcsdk.IncomingCall.accept`.

    Args:
        services: the client's parts that the session uses.
        negotiation: its m-lines.
        on_finished: called when the session has ended.

    Attributes:
        bootstrap: the application list and mini-apps of the own network.
        negotiation: the m-lines; the client fills them for the first offer.
    """

    def __init__(
        self,
        services: SessionServices,
        negotiation: Negotiation,
        *,
        on_finished: Callable[[Session], None],
    ) -> None:
        self._services = services
        self._on_finished = on_finished
        self._config = services.config
        self.negotiation = negotiation
        self._dialog: SignallingDialog | None = None
        self._tasks = TaskSet("session")
        self._negotiating = asyncio.Lock()
        self._requests: asyncio.Queue[ChannelRequest | None] = asyncio.Queue()
        self._asked: WeakSet[ChannelRequest] = WeakSet()
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._watched: WeakSet[MediaLine] = WeakSet()
        self._is_closing = False
        self.bootstrap = self._bootstrap(None)

    # --- what stands ---------------------------------------------------------------------------
    def _require_dialog(self) -> SignallingDialog:
        if self._dialog is None or self._ended.done():
            raise TransportError("the session has ended")
        return self._dialog

    @property
    def call_id(self) -> str:
        """The Call-ID, ``""`` before the dialog is there."""
        return self._dialog.call_id if self._dialog is not None else ""

    @property
    def remote_uri(self) -> str:
        """Whom the other side says it is; see also ``asserted_identity``."""
        return self._dialog.remote_uri if self._dialog is not None else ""

    @property
    def asserted_identity(self) -> str | None:
        """Who the network says the other side is (``P-Asserted-Identity``), or ``None``."""
        return self._dialog.asserted_identity if self._dialog is not None else None

    @property
    def is_ended(self) -> bool:
        """The dialog is over."""
        return self._ended.done()

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The media lines that are up, in the order of their m-lines."""
        return tuple(
            Stream(
                index=index,
                role=line.role,
                app_id=line.req_app.app_id if line.req_app is not None else None,
                stream_ids=tuple(sorted(line.channels)),
                security=line.report,
            )
            for index, line in self.negotiation.lines_up()
        )

    def stats(self) -> dict[int, AssociationStats]:
        """What each media line that is up did so far, by the index of its m-line."""
        return {index: line.association.stats() for index, line in self.negotiation.lines_up()}

    def _bootstrap(self, line: MediaLine | None) -> Bootstrap:
        return Bootstrap(line, http=self._services.http, provider=self._services.provider)

    # --- life, driven by the client -----------------------------------------------------------
    def adopt(self, dialog: SignallingDialog) -> None:
        """Take over the dialog; from now on closing the session ends it.

        Raises:
            TransportError: the session was closed meanwhile; close it again to end the dialog.
        """
        self._dialog = dialog
        if self._ended.done():
            raise TransportError("the session was closed before the call was up")
        self._tasks.start(self._watch_dialog(dialog), name="dialog")

    async def begin(self, fresh: Sequence[MediaLine]) -> None:
        """Bring the lines up that the first offer and answer agreed, then serve re-offers.

        Raises:
            SecurityError, TransportError, OperationTimeout: a line did not come up.
        """
        dialog = self._require_dialog()
        bootstrap = [line for line in fresh if line.role is LineRole.BOOTSTRAP]
        self.bootstrap = self._bootstrap(bootstrap[0] if bootstrap else None)
        await self._bring_up(fresh)
        self._tasks.start(self._serve_reoffers(dialog), name="re-offers")

    async def _bring_up(self, fresh: Sequence[MediaLine]) -> None:
        for line in fresh:
            line.start()
            line.set_asserted_identity(self.asserted_identity)
        for line in fresh:
            await line.association.wait_established(self._config.media_timeout_s)
            index = self.negotiation.lines.index(line)
            self._services.on_event(
                StreamSecured(call_id=self.call_id, line=index, report=line.report)
            )
            if line not in self._watched:
                self._watched.add(line)
                self._tasks.start(self._watch_line(index, line), name=f"line {index}")

    async def _watch_line(self, index: int, line: MediaLine) -> None:
        error = await line.association.wait_closed()
        if not line.is_closed:
            await line.close(self._config.close_timeout_s)
        if not self._is_closing:
            logger.info("call=%s line=%d closed error=%s", self.call_id, index, error)
            self._services.on_event(StreamClosed(call_id=self.call_id, line=index, error=error))

    async def _watch_dialog(self, dialog: SignallingDialog) -> None:
        reason = await dialog.wait_ended()
        await self._finish(reason, self._config.close_timeout_s)

    async def wait_ended(self) -> str:
        """Wait for the end of the call; returns why, in words."""
        return await asyncio.shield(self._ended)

    async def aclose(self, timeout_s: float | None = None) -> None:
        """Hang up: send BYE, and close every association while it is answered. Idempotent.

        Args:
            timeout_s: bound on all of it, seconds, by default that of the configuration; what
                the other side has not confirmed then is given up.
        """
        deadline = Deadline(self._config.close_timeout_s if timeout_s is None else timeout_s)
        self._is_closing = True
        left_s = deadline.left_s
        try:
            await finish_all((self._hang_up(left_s), self.bootstrap.aclose(left_s)))
        finally:
            await self._finish("we hung up", deadline.left_s)
        await self._tasks.aclose()
        for request in tuple(self._asked):
            request.fail(TransportError("the session was closed"))

    async def _hang_up(self, timeout_s: float) -> None:
        """Send BYE and wait for its answer; the lines close meanwhile, see ``_watch_dialog``."""
        if self._dialog is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._dialog.bye()
        except (TimeoutError, DcsdkError) as exc:
            logger.warning("call=%s BYE failed: %s", self.call_id, exc or "not answered")

    async def _finish(self, reason: str, timeout_s: float) -> None:
        """End the session and wait until its lines are closed, whoever ended it first."""
        if not self._ended.done():
            self._is_closing = True
            self._ended.set_result(reason)
            self._requests.put_nowait(None)
            if self._dialog is not None:
                self._services.on_event(SessionEnded(call_id=self.call_id, reason=reason))
        await self._close(self.negotiation.media_lines, timeout_s)
        self._on_finished(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- channels we ask for -------------------------------------------------------------------
    async def open(
        self,
        subprotocol: str = "",
        *,
        app_id: str | None = None,
        label: str = "",
        is_ordered: bool = True,
        max_retr: int | None = None,
        max_time_ms: int | None = None,
        priority: int = 256,
        pinned_fingerprint: Fingerprint | None = None,
    ) -> Any:
        """Open an application channel to the other side, by re-INVITE (TS 24.186 9.3.2.2.2).

        Channels of one application share a media line.

        Args:
            subprotocol: RFC 8864 name; ``""`` for raw text and binary.
            app_id: the application the channel belongs to (``a=3gpp-req-app``), or ``None``.
            label: shown to the other side.
            is_ordered: messages arrive in the order sent.
            max_retr: give a message up after so many retransmissions.
            max_time_ms: give a message up after so long; excludes ``max_retr``.
            priority: 256 is normal.
            pinned_fingerprint: the other UE's certificate, known beforehand: proves e2e.

        Returns:
            What the application protocol of that name makes of the channel, for example an HTTP
            channel; the :class:`dcsdk.DataChannel` itself when no protocol of that name is loaded.

        Raises:
            UnsupportedByPeer: refused by the other side.
            CallRejected: the re-INVITE was refused; the session stays as it was.
            SecurityError: the answer means less security than was asked for.
            TransportError, OperationTimeout: the session ended, or nothing came up in time.
        """
        req_app = self._config.profile.format_req_app(app_id) if app_id is not None else None
        describe = functools.partial(
            Dcmap,
            subprotocol=subprotocol,
            label=label,
            is_ordered=is_ordered,
            max_retr=max_retr,
            max_time_ms=max_time_ms,
            priority=priority,
        )
        for _ in range(MAX_GLARE_RETRIES):
            try:
                return await self._open(describe, req_app, pinned_fingerprint)
            except CallRejected as exc:
                if exc.status != 491:
                    raise
            # The lock is free meanwhile: the peer's own offer is answered first.
            await self._require_dialog().wait_after_glare()
        return await self._open(describe, req_app, pinned_fingerprint)

    async def _open(
        self,
        describe: Callable[..., Dcmap],
        req_app: ReqApp | None,
        pinned_fingerprint: Fingerprint | None,
    ) -> Any:
        async with self._negotiating:
            self._require_dialog()
            line = await self._application_line(req_app, pinned_fingerprint)
            first = self._config.profile.first_application_stream_id
            dcmap = describe(stream_id=self.negotiation.next_stream_id(first))
            try:
                await self._reoffer({line: [dcmap]})
            finally:
                channel = line.channels.get(dcmap.stream_id)
                if channel is None:
                    self.negotiation.give_up_stream_id(dcmap.stream_id)
        if channel is None or line.is_closed:
            raise UnsupportedByPeer(
                f"the other side refused channel {dcmap.stream_id}", source="RFC 8864 6.4"
            )
        return self._services.start_protocol(channel, is_opener=True)

    async def _application_line(
        self, req_app: ReqApp | None, pinned_fingerprint: Fingerprint | None
    ) -> MediaLine:
        app_id = req_app.app_id if req_app is not None else None
        for line in self.negotiation.media_lines:
            bound_to = line.req_app.app_id if line.req_app is not None else None
            is_usable = line.role is LineRole.APPLICATION and not line.is_closed
            if is_usable and bound_to == app_id and pinned_fingerprint is None:
                return line
        self._check_room_for_lines()
        scope = SecurityScope.NETWORK_DECIDES if pinned_fingerprint is None else SecurityScope.E2E
        intent = MediaIntent(kind="dc", scope=scope, pinned_fingerprint=pinned_fingerprint)
        return await self._services.create_line(LineRole.APPLICATION, intent, req_app=req_app)

    def _check_room_for_lines(self, count: int = 1) -> None:
        count += sum(not line.is_closed for line in self.negotiation.media_lines)
        limit = self._config.profile.max_associations
        if count > limit:
            raise LocalProtocolError(f"{count} associations are more than {limit} (D15)")

    async def _reoffer(self, changes: Mapping[MediaLine, Sequence[Dcmap]]) -> None:
        dialog = self._require_dialog()
        try:
            offer = await self.negotiation.offer(changes)
            answer = await dialog.reoffer(offer, timeout_s=self._config.call_timeout_s)
        except BaseException:
            await self._close(self.negotiation.forget_offer(changes))
            raise
        try:
            await self._bring_up(await self.negotiation.take_answer(answer, changes))
        except BaseException as exc:
            await self._withdraw(dialog, changes, exc)
            raise

    async def _withdraw(
        self, dialog: SignallingDialog, lines: Iterable[MediaLine], error: BaseException
    ) -> None:
        """Close lines that must not be used, and tell the peer by port 0 (RFC 3264 8.2)."""
        logger.warning("call=%s line withdrawn: %s", self.call_id, error)
        await self._close(lines)
        if isinstance(error, asyncio.CancelledError) or self._ended.done():
            return
        try:
            offer = await self.negotiation.offer({})
            answer = await dialog.reoffer(offer, timeout_s=self._config.close_timeout_s)
            await self.negotiation.take_answer(answer, {})
        except DcsdkError as exc:
            logger.warning("call=%s the peer was not told: %s", self.call_id, exc)

    # --- channels the other side asks for ------------------------------------------------------
    async def incoming(self) -> AsyncIterator[ChannelRequest]:
        """Yield the channels the other side asks for, until the call ends."""
        while (request := await self._requests.get()) is not None:
            if request.is_waiting:  # not given up meanwhile: glare, a time-out, a broken offer
                yield request
        self._requests.put_nowait(None)  # for the next reader: it ends as well

    async def _serve_reoffers(self, dialog: SignallingDialog) -> None:
        async for reoffer in dialog.reoffers():
            async with self._negotiating:
                await self._answer_reoffer(reoffer)

    async def _answer_reoffer(self, reoffer: Reoffer) -> None:
        requests: list[ChannelRequest] = []
        created: list[MediaLine] = []
        before = self.negotiation.lines
        try:
            offered = self.negotiation.review(reoffer.offer, dc_allowed=self._services.dc_allowed())
            accepted = await self._decide(reoffer, offered, requests, created)
            answer, fresh = await self.negotiation.answer(offered, reoffer.offer, accepted)
            await reoffer.accept(answer)
        except DcsdkError as exc:
            logger.warning("call=%s re-offer refused: %s", self.call_id, exc)
            self.negotiation.lines = before
            for line in self.negotiation.media_lines:
                line.forget_restart()
            for request in requests:
                if request.line is not None:
                    request.line.forget_offer([request.dcmap])
            await self._fail(requests, created, exc)
            if not isinstance(exc, SignallingError):
                await reoffer.reject(488)
            return
        except asyncio.CancelledError:
            await self._close(created)
            raise
        self._tasks.start(self._serve_accepted(fresh, requests), name="accepted channels")

    async def _serve_accepted(
        self, fresh: Sequence[MediaLine], requests: Sequence[ChannelRequest]
    ) -> None:
        try:
            await self._bring_up(fresh)
        except DcsdkError as exc:
            await self._fail([item for item in requests if item.line in fresh], fresh, exc)
        for request in requests:
            request.opened()

    async def _fail(
        self, requests: Iterable[ChannelRequest], lines: Iterable[MediaLine], error: DcsdkError
    ) -> None:
        """Tell the program that channels did not come up, and close their lines."""
        for request in requests:
            request.fail(error)
        await self._close(lines)

    async def _close(self, lines: Iterable[MediaLine], timeout_s: float | None = None) -> None:
        bound_s = self._config.close_timeout_s if timeout_s is None else timeout_s
        await finish_all(line.close(bound_s) for line in lines)

    async def _decide(
        self,
        reoffer: Reoffer,
        offered: Sequence[OfferedLine],
        requests: list[ChannelRequest],
        created: list[MediaLine],
    ) -> dict[int, tuple[MediaLine, Sequence[Dcmap]]]:
        """Ask the program about each new channel; the network's bootstrap channels are taken."""
        for item in offered:
            if item.role is LineRole.APPLICATION and item.offered is not None:
                requests += self._ask(item)
        await wait_decided(requests, reoffer, self._config.request_timeout_s)
        accepted: dict[int, tuple[MediaLine, Sequence[Dcmap]]] = {}
        for item in offered:
            if item.offered is None:
                continue
            asked = [request for request in requests if request.line_index == item.index]
            if item.role is LineRole.BOOTSTRAP:
                channels: Sequence[Dcmap] = item.new
            else:
                channels = [request.dcmap for request in asked if request.is_accepted]
            line = item.line
            if line is None and channels:
                self._check_room_for_lines(len(created) + 1)
                line = await self._services.create_line(
                    item.role,
                    MediaIntent(kind="dc"),
                    req_app=self._config.profile.req_app(item.description),
                )
                created.append(line)
            if line is not None:
                accepted[item.index] = (line, channels)
                for request in asked:
                    request.line = line
        return accepted

    def _ask(self, item: OfferedLine) -> list[ChannelRequest]:
        req_app = self._config.profile.req_app(item.description)
        requests = [
            ChannelRequest(
                dcmap=dcmap,
                app_id=req_app.app_id if req_app is not None else None,
                line_index=item.index,
                start=self._services.start_protocol,
            )
            for dcmap in item.new
        ]
        self._asked.update(requests)
        for request in requests:
            if self._requests.qsize() < MAX_WAITING_REQUESTS:
                self._requests.put_nowait(request)
            else:
                request.refuse()
        return requests

    async def answer_first(
        self, offer: SessionDescription
    ) -> tuple[SessionDescription, list[MediaLine]]:
        """Answer the offer of the initial INVITE; application channels in it are refused.

        Raises:
            NegotiationError: nothing of it can be taken.
            RemoteProtocolError, SecurityError: it breaks a rule.
        """
        offered = self.negotiation.review(offer, dc_allowed=self._services.dc_allowed())
        for item in offered:
            for reason in item.refused:
                logger.info("line=%d refused: %s", item.index, reason)
        refuse_if_nothing_left(offered)
        wanted = [item for item in offered if item.offered and item.role is LineRole.BOOTSTRAP]
        self._check_room_for_lines(len(wanted))
        accepted: dict[int, tuple[MediaLine, Sequence[Dcmap]]] = {}
        try:
            for item in wanted:
                line = await self._services.create_line(item.role, MediaIntent(kind="dc"))
                accepted[item.index] = (line, item.new)
            return await self.negotiation.answer(offered, offer, accepted)
        except BaseException:
            await self._close(line for line, _ in accepted.values())
            raise
