"""The phone: one registered identity, at most one call, and what can be done in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from apps.dcmtsi_client.files import FILE_LABEL, readable_file, receive_files, send_file
from dcsdk import (
    AppEntry,
    ChannelClosed,
    ChannelRequest,
    Client,
    DataChannel,
    DcsdkError,
    IncomingCall,
    Session,
)

CHAT_LABEL = "chat"
MAX_TASKS = 32

Show = Callable[[str], None]


class Phone:
    """Acts on commands and shows what happens.

    Args:
        client: started, not yet registered.
        show: prints one line.
        downloads: folder for files and mini-apps.
        auto_answer: take every call.
    """

    def __init__(
        self, client: Client, show: Show, *, downloads: Path, auto_answer: bool = False
    ) -> None:
        self._client = client
        self._show = show
        self._downloads = downloads
        self._auto_answer = auto_answer
        self._ringing: IncomingCall | None = None
        self._session: Session | None = None
        self._chat: DataChannel | None = None
        self._apps: list[AppEntry] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.commands: dict[str, tuple[str, Callable[[str], Coroutine[Any, Any, None]]]] = {
            "call": ("URI: call somebody", self.call),
            "answer": ("answer the call that rings", self.answer),
            "reject": ("refuse the call that rings", self.reject),
            "apps": ("list the network's mini-apps", self.apps),
            "fetch": ("APP-ID: fetch a mini-app", self.fetch),
            "chat": ("TEXT: send a line of chat", self.chat),
            "send": ("FILE: send a file", self.send),
            "security": ("show what protects each stream", self.security),
            "hangup": ("end the call", self.hangup),
        }

    # --- life ----------------------------------------------------------------------------------
    async def start(self) -> None:
        """Register and listen for calls."""
        registration = await self._client.register()
        self._show(f"registered as {self._client.config.public_identity}; both sides support:")
        for line in str(registration.capabilities).splitlines():
            self._show("  " + line)
        self._spawn(self._listen())

    async def aclose(self) -> None:
        """Hang up and stop listening."""
        await self.hangup("")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= MAX_TASKS:
            work.close()
            self._show("too much at once, ignored")
            return
        task = asyncio.get_running_loop().create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (DcsdkError, OSError, ValueError) as exc:
            self._show(f"! {exc}")

    async def _listen(self) -> None:
        async for call in self._client.incoming():
            if self._session is not None or self._ringing is not None:
                await call.reject(486)
                continue
            self._ringing = call
            await call.ring()
            self._spawn(self._watch_ringing(call))
            self._show(f"{call.asserted_identity or call.remote_uri} calls: answer or reject?")
            if self._auto_answer:
                await self._guard(self.answer(""))

    async def _watch_ringing(self, call: IncomingCall) -> None:
        reason = await call.wait_ended()
        if self._ringing is call:
            self._ringing = None
            self._show(f"the call ended: {reason}")

    # --- calls ---------------------------------------------------------------------------------
    async def call(self, target: str) -> None:
        """Call somebody."""
        if not target:
            self._show("call whom? for example: call sip:bob@ims.example")
            return
        if self._session is not None:
            self._show("there is a call already: hangup first")
            return
        self._show(f"calling {target} ...")
        self._begin(await self._client.call(target))

    async def answer(self, _: str) -> None:
        """Answer the call that rings."""
        call, self._ringing = self._ringing, None
        if call is None:
            self._show("nobody calls")
            return
        self._begin(await call.accept())

    async def reject(self, _: str) -> None:
        """Refuse the call that rings."""
        call, self._ringing = self._ringing, None
        if call is None:
            self._show("nobody calls")
            return
        await call.reject(486)

    async def hangup(self, _: str) -> None:
        """End the call."""
        session, self._session, self._chat = self._session, None, None
        if session is not None:
            await session.aclose()

    def _begin(self, session: Session) -> None:
        self._session = session
        self._show(f"in a call with {session.asserted_identity or session.remote_uri}")
        self._spawn(self._serve(session))
        self._spawn(self._watch(session))

    async def _watch(self, session: Session) -> None:
        reason = await session.wait_ended()
        self._show(f"the call ended: {reason}")
        if self._session is session:
            await self.hangup("")

    def _require_session(self) -> Session:
        if self._session is None:
            raise ValueError("no call is up")
        return self._session

    async def security(self, _: str) -> None:
        """Show what protects each stream."""
        for stream in self._require_session().streams:
            report = stream.security
            self._show(
                f"  line {stream.index} ({stream.app.role.value}, "
                f"channels {stream.app.stream_ids}): "
                f"{report.scope.value}, {report.version} {report.suite}"
            )
            self._show(f"    because {report.reason}; signalling {report.signalling.value}")

    # --- mini-apps -----------------------------------------------------------------------------
    async def apps(self, _: str) -> None:
        """List the network's mini-apps."""
        self._apps = await self._require_session().bootstrap.applications()
        for entry in self._apps:
            self._show(f"  {entry.app_id}: {entry.name}")

    async def fetch(self, app_id: str) -> None:
        """Fetch a mini-app into the downloads folder; it is never executed."""
        session = self._require_session()
        if not self._apps:
            self._apps = await session.bootstrap.applications()
        entry = next((entry for entry in self._apps if entry.app_id == app_id), None)
        if entry is None:
            raise ValueError(f"the network has no mini-app {app_id!r}")
        app = await session.bootstrap.fetch(entry)
        suffix = ".zip" if app.is_package else ".html"
        path = self._downloads / (app.sha256[:16] + suffix)
        path.write_bytes(app.body)
        self._show(f"  {app.app_id}: {len(app.body)} bytes, {app.content_type}, in {path}")

    # --- chat and files --------------------------------------------------------------------------
    async def chat(self, text: str) -> None:
        """Send a line of chat."""
        session = self._require_session()
        if self._chat is None:
            self._use_chat(await session.open(label=CHAT_LABEL))
        if self._chat is not None:
            await self._chat.send(text)

    async def send(self, name: str) -> None:
        """Send a file."""
        path = readable_file(name)
        http = await self._require_session().open("http", label=FILE_LABEL)
        shown = 0

        def progress(file: str, moved: int) -> None:
            nonlocal shown
            if moved - shown >= 10_000_000:
                shown = moved
                self._show(f"  {file}: {moved / 1e6:.0f} MB sent")

        try:
            size, digest = await send_file(http, path, progress)
        finally:
            await http.aclose()
        self._show(f"sent {path.name}: {size} bytes, sha256 {digest}")

    async def _serve(self, session: Session) -> None:
        async for request in session.incoming():
            if request.label == CHAT_LABEL and not request.subprotocol:
                self._use_chat(await request.accept())
            elif request.label == FILE_LABEL and request.subprotocol == "http":
                self._spawn(self._take_files(request))
            else:
                self._show(f"refused a channel {request.label!r} ({request.subprotocol!r})")
                request.refuse()

    async def _take_files(self, request: ChannelRequest) -> None:
        http = await request.accept()
        await receive_files(
            http,
            self._downloads,
            lambda path, size, digest: self._show(
                f"received {path.name}: {size} bytes, sha256 {digest}"
            ),
        )

    def _use_chat(self, channel: DataChannel) -> None:
        self._chat = channel
        self._spawn(self._read_chat(channel))

    async def _read_chat(self, channel: DataChannel) -> None:
        try:
            async for message in channel:
                self._show(f"< {message if isinstance(message, str) else repr(message)}")
        except ChannelClosed:
            self._show("the chat closed")
        if self._chat is channel:
            self._chat = None
