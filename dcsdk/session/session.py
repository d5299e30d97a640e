"""One call: a dialog, its media lines, and the offers and answers that change them."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload
from weakref import WeakSet

from dcsdk.datachannel.channel import DataChannel
from dcsdk.datachannel.line import ChannelLine, DataChannels
from dcsdk.datachannel.request import ChannelRequest
from dcsdk.errors import (
    CallRejected,
    DcsdkError,
    LocalProtocolError,
    SignallingError,
    TransportError,
    UnsupportedByPeer,
)
from dcsdk.events import SessionEnded, StreamClosed, StreamSecured
from dcsdk.interfaces.carriers import AppProtocol
from dcsdk.interfaces.channel import ChannelParameters
from dcsdk.interfaces.media import MediaIntent, RequestId
from dcsdk.interfaces.signalling import Reoffer, SignallingDialog
from dcsdk.io.deadline import Deadline
from dcsdk.io.request import PendingRequest, wait_decided
from dcsdk.io.tasks import TaskSet, finish_all
from dcsdk.security import SecurityScope
from dcsdk.session.channels import (
    ChannelOptions,
    application_line,
    bootstrap_of,
    channel_parameters,
)
from dcsdk.session.decisions import IncomingRequests, taken_first, taken_of
from dcsdk.session.exchange import End, Keep, LinePlan, New, Outcome, Renewal, Replace
from dcsdk.session.line import MediaLine
from dcsdk.session.line_request import LineRequest
from dcsdk.session.negotiation import Negotiation
from dcsdk.session.services import LineMaker
from dcsdk.session.stream import Stream

if TYPE_CHECKING:
    from dcsdk.sdp.fingerprint import Fingerprint
    from dcsdk.sdp.session import SessionDescription
    from dcsdk.session.exchange import Exchange
    from dcsdk.session.services import SessionServices

logger = logging.getLogger(__name__)

MAX_GLARE_RETRIES = 5
"""Offers made again after 491 before it counts as refused."""

App = TypeVar("App")


class Session:
    """A call that is up. ``async with session`` hangs up at the end.

    Made by :meth:`dcsdk.Client.call` and :meth:`dcsdk.IncomingCall.accept`.

    Args:
        services: the client's parts that the session uses.
        on_finished: called when the session has ended.

    Attributes:
        bootstrap: the application list and mini-apps of the own network.
    """

    def __init__(
        self, services: SessionServices, *, on_finished: Callable[[Session], None]
    ) -> None:
        self._services = services
        self._config = services.config
        self._on_finished = on_finished
        self._maker = LineMaker(services, on_change=self._change, on_replace=self._replace)
        self._negotiation = Negotiation(
            host=services.local_host,
            session_id=secrets.randbits(62),
            maker=self._maker,
            policy=services.policy,
        )
        self._dialog: SignallingDialog | None = None
        self._tasks = TaskSet("session")
        self._negotiating = asyncio.Lock()
        self._requests = IncomingRequests()
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._watched: WeakSet[MediaLine] = WeakSet()
        self._is_closing = False
        self.bootstrap = bootstrap_of((), services)

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
                index=self._negotiation.index(line),
                kind=line.kind,
                security=line.report,
                app=line.media.app,
                stats=line.media.stats,
            )
            for line in self._negotiation.lines
        )

    def stats(self) -> dict[int, Any]:
        """What the medium of each line that is up did so far, by the index of its m-line."""
        return {
            self._negotiation.index(line): line.media.stats() for line in self._negotiation.lines
        }

    # --- the first offer, driven by the client ---------------------------------------------------
    async def first_offer(self, media: Sequence[MediaIntent]) -> Exchange:
        """Prepare the offer of the INVITE, where later offers are made as well.

        Raises:
            ConfigError, UnsupportedByNetwork: what is asked for cannot be offered.
            TransportError: an address cannot be bound.
        """
        self._check_room_for_lines(len(media))
        lines = [self._maker.line(intent) for intent in media]
        exchange = await self._negotiation.offer([New(line) for line in lines])
        try:
            for medium in {line.medium for line in lines}:
                medium.check_offer(exchange.description)
        except BaseException:
            await exchange.rollback()
            raise
        return exchange

    async def take_first_answer(
        self, exchange: Exchange, dialog: SignallingDialog, answer: SessionDescription
    ) -> None:
        """Act on the answer to :meth:`first_offer` and bring the lines up.

        Raises:
            RemoteProtocolError, SecurityError: the answer was wrong.
            TransportError, OperationTimeout: a line did not come up.
        """
        try:
            self._adopt(dialog)
            outcome = await self._negotiation.take_answer(exchange, answer)
        except BaseException:
            await exchange.rollback()
            raise
        await self._begin(outcome)

    async def answer_first(
        self,
        offer: SessionDescription,
        media: Sequence[MediaIntent],
        accept: Callable[[SessionDescription], Awaitable[SignallingDialog]],
    ) -> None:
        """Answer the offer of the INVITE and bring the lines up.

        Args:
            offer: of the INVITE.
            media: the media that are taken beside what needs no question.
            accept: sends the answer.

        Raises:
            NegotiationError: nothing of it can be taken.
            RemoteProtocolError, SecurityError: it breaks a rule.
        """
        offered = await self._negotiation.review(offer, media)
        try:
            taken = taken_first(offered, {intent.kind for intent in media})
            self._check_room_for_lines(len(taken))
        except BaseException:
            await self._negotiation.drop(offered)
            raise
        exchange = await self._negotiation.answer(offered, offer, taken)
        try:
            self._adopt(await accept(exchange.sent()))
            outcome = await self._negotiation.commit_answer(exchange)
        except BaseException:
            await exchange.rollback()
            raise
        await self._begin(outcome)

    def _adopt(self, dialog: SignallingDialog) -> None:
        """Take over the dialog; from now on closing the session ends it.

        Raises:
            TransportError: the session was closed meanwhile; close it again to end the dialog.
        """
        self._dialog = dialog
        if self._ended.done():
            raise TransportError("the session was closed before the call was up")
        self._negotiation.asserted_identity = dialog.asserted_identity
        self._tasks.start(self._watch_dialog(dialog), name="dialog")

    async def _begin(self, outcome: Outcome) -> None:
        """Bring up what the first offer and answer agreed, then serve re-offers.

        Raises:
            SecurityError, TransportError, OperationTimeout: a line did not come up.
        """
        dialog = self._require_dialog()
        self.bootstrap = bootstrap_of(outcome.fresh, self._services)
        for error in (await self._bring_up(outcome)).values():
            raise error
        self._tasks.start(self._serve_reoffers(dialog), name="re-offers")

    # --- lines -----------------------------------------------------------------------------------
    async def _bring_up(self, outcome: Outcome) -> dict[MediaLine, Exception]:
        """Start what an exchange agreed and wait for all of it side by side, under one bound.

        Returns:
            The lines that did not come up, each with the reason.
        """
        self._tasks.start(self._close(outcome.ended), name="ended lines")
        failed: dict[MediaLine, Exception] = {}
        waiting = [line for line in self._negotiation.lines if line.group in outcome.started]
        for line in waiting:
            if line.group is not None:
                try:
                    line.group.start()
                except DcsdkError as exc:
                    failed[line] = exc
        deadline = Deadline(self._config.media_timeout_s)

        async def come_up(line: MediaLine) -> None:
            try:
                await line.transport.wait_established(deadline.left_s)
                await line.media.wait_ready(deadline.left_s)
            except DcsdkError as exc:
                failed[line] = exc

        await finish_all(come_up(line) for line in waiting if line not in failed)
        for line in waiting:
            if line not in failed and line.is_up:
                self._secured(line)
        return failed

    def _secured(self, line: MediaLine) -> None:
        index = self._negotiation.index(line)
        self._services.on_event(StreamSecured(call_id=self.call_id, line=index, report=line.report))
        if line not in self._watched:
            self._watched.add(line)
            self._tasks.start(self._watch_line(index, line), name=f"line {index}")

    async def _watch_line(self, index: int, line: MediaLine) -> None:
        error = await line.media.wait_closed(line.transport)
        was_up = line.is_up
        await line.aclose(self._config.close_timeout_s)
        if self._is_closing:
            return
        logger.info("call=%s line=%d closed error=%s", self.call_id, index, error)
        self._services.on_event(StreamClosed(call_id=self.call_id, line=index, error=error))
        if was_up and error is not None:
            await self._tell_ended()

    async def _tell_ended(self) -> None:
        """Tell the peer of lines that ended here, by port 0 (RFC 3264 8.2)."""
        async with self._negotiating:
            try:
                await self._offer((), timeout_s=self._config.close_timeout_s)
            except DcsdkError as exc:
                logger.warning("call=%s the peer was not told: %s", self.call_id, exc)

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
        self._requests.fail_all(TransportError("the session was closed"))

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
            self._requests.end()
            if self._dialog is not None:
                self._services.on_event(SessionEnded(call_id=self.call_id, reason=reason))
        await self._close(self._negotiation.known_lines, timeout_s)
        self._on_finished(self)

    async def _close(self, lines: Iterable[MediaLine], timeout_s: float | None = None) -> None:
        bound_s = self._config.close_timeout_s if timeout_s is None else timeout_s
        await finish_all(line.aclose(bound_s) for line in lines)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- our offers ------------------------------------------------------------------------------
    async def add(self, intent: MediaIntent) -> Stream:
        """Add a media line by re-INVITE.

        Args:
            intent: what is wanted, ``DataChannels(bootstrap=False)`` for example.

        Raises:
            UnsupportedByPeer: refused by the other side.
            CallRejected: the re-INVITE was refused; the session stays as it was.
            ConfigError, UnsupportedByNetwork: it cannot be offered.
            SecurityError: the answer means less security than was asked for.
            TransportError, OperationTimeout: the session ended, or the line did not come up.
        """
        line = await self._add(intent)
        return next(item for item in self.streams if item.index == self._negotiation.index(line))

    async def _add(self, intent: MediaIntent) -> MediaLine:
        made: list[MediaLine] = []

        async def make() -> Sequence[LinePlan]:
            self._check_room_for_lines(1)
            made[:] = [self._maker.line(intent)]
            return [New(made[0])]

        return await self._made(make, made)

    async def remove(self, stream: Stream | int) -> None:
        """End a media line by re-INVITE: its port is 0 from then on (RFC 3264 8.2).

        Args:
            stream: of ``streams``, or the index of its m-line.

        Raises:
            LocalProtocolError: there is no such line.
            CallRejected: the re-INVITE was refused; the session stays as it was.
        """
        index = stream.index if isinstance(stream, Stream) else stream
        line = {self._negotiation.index(item): item for item in self._negotiation.lines}.get(index)
        if line is None:
            raise LocalProtocolError(f"the session has no line {index}")

        async def make() -> Sequence[LinePlan]:
            return [End(line)]

        await self._reoffer(make)

    async def restart_ice(self) -> None:
        """Find paths anew: after a change of network, say (RFC 8839 4.4.1.1.1).

        Raises:
            NegotiationError: a line does not run ICE.
            CallRejected: the re-INVITE was refused; the paths stay what they are.
        """
        await self._renew(Renewal.ICE)

    async def restart_security(self) -> None:
        """Make new keys: for DTLS a new association with a new tls-id (RFC 8842 5.5).

        Raises:
            LocalProtocolError: a transport cannot be renewed.
            CallRejected: the re-INVITE was refused; the keys stay what they are.
        """
        await self._renew(Renewal.SECURITY)

    async def _renew(self, renewal: Renewal) -> None:
        async def make() -> Sequence[LinePlan]:
            return [Keep(line, renewal=renewal) for line in self._negotiation.lines]

        await self._reoffer(make)

    async def _change(self, line: MediaLine, make: Callable[[], Awaitable[Any]]) -> None:
        async def plans() -> Sequence[LinePlan]:
            line.require_up()
            return [Keep(line, change=await make())]

        await self._reoffer(plans)

    async def _replace(self, line: MediaLine, intent: MediaIntent) -> MediaLine:
        made: list[MediaLine] = []

        async def make() -> Sequence[LinePlan]:
            line.require_up()
            made[:] = [self._maker.line(intent)]
            return [Replace(line, made[0])]

        return await self._made(make, made)

    async def _made(
        self, make: Callable[[], Awaitable[Sequence[LinePlan]]], made: list[MediaLine]
    ) -> MediaLine:
        await self._reoffer(make)
        if not made[0].is_up:
            raise UnsupportedByPeer("the other side refused the line", source="RFC 3264 6")
        return made[0]

    def _check_room_for_lines(self, count: int) -> None:
        count += len(self._negotiation.lines)
        limit = self._config.profile.max_associations
        if count > limit:
            raise LocalProtocolError(f"{count} associations are more than {limit} (D15)")

    async def _reoffer(self, make: Callable[[], Awaitable[Sequence[LinePlan]]]) -> None:
        """Make an offer, again after glare; ``make`` is called for each with the lock held."""
        for attempt in range(MAX_GLARE_RETRIES + 1):
            try:
                async with self._negotiating:
                    self._require_dialog()
                    await self._offer(await make(), timeout_s=self._config.call_timeout_s)
                return
            except CallRejected as exc:
                if exc.status != 491 or attempt == MAX_GLARE_RETRIES:
                    raise
            # The lock is free meanwhile: the peer's own offer is answered first.
            await self._require_dialog().wait_after_glare()

    async def _offer(self, plans: Sequence[LinePlan], *, timeout_s: float) -> None:
        dialog = self._require_dialog()
        exchange = await self._negotiation.offer(plans)
        try:
            answer = await dialog.reoffer(exchange.sent(), timeout_s=timeout_s)
        except BaseException:
            await exchange.rollback()
            raise
        changed = [plan.line for plan in plans if isinstance(plan, Keep | New | Replace)]
        failed: dict[MediaLine, Exception] = {}
        try:
            outcome = await self._negotiation.take_answer(exchange, answer)
            failed = await self._bring_up(outcome)
            for line in changed:
                if (error := failed.get(line)) is not None:
                    raise error
        except BaseException as exc:
            await exchange.rollback()
            await self._withdraw(failed or changed, exc)
            raise

    async def _withdraw(self, lines: Collection[MediaLine], error: BaseException) -> None:
        """Close lines that must not be used, and tell the peer by port 0 (RFC 3264 8.2)."""
        if not lines:
            return
        logger.warning("call=%s line withdrawn: %s", self.call_id, error)
        await self._close(lines)
        if isinstance(error, asyncio.CancelledError) or self._ended.done():
            return
        try:
            await self._offer((), timeout_s=self._config.close_timeout_s)
        except DcsdkError as exc:
            logger.warning("call=%s the peer was not told: %s", self.call_id, exc)

    # --- data channels: conveniences over their medium -------------------------------------------
    @overload
    async def open(
        self, protocol: Literal[""] = "", **options: Unpack[ChannelOptions]
    ) -> DataChannel: ...

    @overload
    async def open(
        self, protocol: type[AppProtocol[App]], **options: Unpack[ChannelOptions]
    ) -> App: ...

    @overload
    async def open(self, protocol: str, **options: Unpack[ChannelOptions]) -> Any: ...

    async def open(
        self, protocol: str | type[AppProtocol[Any]] = "", **options: Unpack[ChannelOptions]
    ) -> Any:
        """Open an application channel to the other side, by re-INVITE (TS 24.186 9.3.2.2.2).

        Channels of one application share a media line.

        Args:
            protocol: what runs on it: the class of an application protocol, or an RFC 8864 name;
                ``""`` for raw text and binary.
            options: see :class:`ChannelOptions`.

        Returns:
            What the application protocol of that name makes of the channel, for example an HTTP
            channel; the :class:`dcsdk.DataChannel` itself when no protocol of that name is loaded.

        Raises:
            UnsupportedByPeer: refused by the other side.
            CallRejected: the re-INVITE was refused; the session stays as it was.
            SecurityError: the answer means less security than was asked for.
            TransportError, OperationTimeout: the session ended, or nothing came up in time.
        """
        name = protocol if isinstance(protocol, str) else protocol.subprotocol
        line, channels = await self._open(
            [channel_parameters(name, options)],
            app_id=options.get("app_id"),
            pinned_fingerprint=options.get("pinned_fingerprint"),
        )
        return line.start_protocol(channels[0], is_opener=True)

    async def open_many(
        self, channels: Sequence[ChannelParameters], *, app_id: str | None = None
    ) -> list[DataChannel]:
        """Open several channels by one re-INVITE; no protocol is started on them.

        Args:
            channels: without stream ids: the session chooses them.
            app_id: the application the channels belong to, or ``None``.

        Raises:
            As ``open``.
        """
        return (await self._open(channels, app_id=app_id, pinned_fingerprint=None))[1]

    async def open_http(self, **options: Unpack[ChannelOptions]) -> Any:
        """Open an HTTP channel, like ``open``; its ``client`` is an ``httpx2.AsyncClient``."""
        return await self.open("http", **options)

    async def _open(
        self,
        channels: Sequence[ChannelParameters],
        *,
        app_id: str | None,
        pinned_fingerprint: Fingerprint | None,
    ) -> tuple[ChannelLine, list[DataChannel]]:
        if pinned_fingerprint is None:
            known = application_line(self._negotiation.lines, app_id)
            if known is not None:
                return known, await known.open(channels)
        intent = DataChannels(
            bootstrap=False,
            app_id=app_id,
            channels=tuple(channels),
            scope=SecurityScope.NETWORK_DECIDES if pinned_fingerprint is None else None,
            pinned_fingerprint=pinned_fingerprint,
        )
        line: ChannelLine = (await self._add(intent)).media.app
        opened = [channel for _, channel in sorted(line.channels.items())]
        if len(opened) < len(channels):
            raise UnsupportedByPeer("the other side refused a channel", source="RFC 8864 6.4")
        return line, opened

    # --- what the other side asks for ------------------------------------------------------------
    def incoming(self) -> AsyncIterator[ChannelRequest]:
        """Yield the channels that the other side asks for, until the call ends."""
        return self._requests.channels()

    def incoming_lines(self) -> AsyncIterator[LineRequest]:
        """Yield the media lines that the other side asks for, until the call ends.

        Lines of data channels are asked for channel by channel, see :meth:`incoming`.
        """
        return self._requests.lines()

    async def _serve_reoffers(self, dialog: SignallingDialog) -> None:
        async for reoffer in dialog.reoffers():
            async with self._negotiating:
                await self._answer_reoffer(reoffer)

    async def _answer_reoffer(self, reoffer: Reoffer) -> None:
        asked: dict[int, dict[RequestId, PendingRequest]] = {}
        requests: list[PendingRequest] = []
        try:
            offered = await self._negotiation.review(reoffer.offer)
            try:
                asked = self._requests.ask(offered)
                requests = [item for each in asked.values() for item in each.values()]
                await wait_decided(requests, reoffer, self._config.request_timeout_s)
                taken = taken_of(offered, asked)
                fresh = sum(item.is_new for item in offered if item.index in taken)
                self._check_room_for_lines(fresh)
            except BaseException:
                await self._negotiation.drop(offered)
                raise
            exchange = await self._negotiation.answer(offered, reoffer.offer, taken)
            try:
                await reoffer.accept(exchange.sent())
            except BaseException:
                await exchange.rollback()
                raise
        except DcsdkError as exc:
            logger.warning("call=%s re-offer refused: %s", self.call_id, exc)
            for request in requests:
                request.fail(exc)
            if not isinstance(exc, SignallingError):
                await reoffer.reject(488)
            return
        outcome = await self._negotiation.commit_answer(exchange)
        self._tasks.start(self._serve_accepted(outcome, asked), name="accepted requests")

    async def _serve_accepted(
        self, outcome: Outcome, asked: dict[int, dict[RequestId, PendingRequest]]
    ) -> None:
        failed = await self._bring_up(outcome)
        by_index = {self._negotiation.index(line): error for line, error in failed.items()}
        for index, requests in asked.items():
            for request in requests.values():
                if (error := by_index.get(index)) is not None:
                    request.fail(error)
                else:
                    request.opened()
        if failed:
            await self._close(failed)
            await self._tell_ended()
