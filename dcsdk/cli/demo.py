"""The demonstration: two DCMTSI clients, the emulated network, a real file through an app channel.

The scenario tells what happens through a :class:`Reporter`; how it is shown is ``demo_view``'s
business.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dcsdk import (
    AppEntry,
    Capabilities,
    Client,
    DataChannels,
    DcsdkError,
    MiniApp,
    NegotiationError,
    Session,
    Stream,
)
from dcsdk.emulator.network import Network
from dcsdk.io.tasks import TaskSet

CHUNK_BYTES = 256 * 1024
"""Read from and written to disk at a time; the file is never in memory as a whole."""

FILE_LABEL = "file"


class Reporter(Protocol):
    """Is told what happens, as it happens."""

    def note(self, text: str) -> None:
        """Something happened."""

    def registered(self, identity: str, capabilities: Capabilities) -> None:
        """A UE is registered."""

    def sdp(self, title: str, lines: list[str]) -> None:
        """What an offer or answer said about security."""

    def stream(self, owner: str, stream: Stream, truth: str) -> None:
        """A stream is protected; ``truth`` is what the emulated network knows."""

    def applications(self, entries: list[AppEntry]) -> None:
        """The application list came."""

    def mini_app(self, app: MiniApp) -> None:
        """A mini-app was fetched."""

    def progress(self, moved: int, total: int) -> None:
        """So many bytes of the file have arrived."""


@dataclass(slots=True)
class DemoResult:
    """Everything the demonstration found, for JSON and for the exit status.

    Attributes:
        problems: errors logged meanwhile, for example that a capture is not complete.
    """

    registrations: list[dict[str, Any]] = field(default_factory=list)
    streams: list[dict[str, Any]] = field(default_factory=list)
    applications: list[dict[str, Any]] = field(default_factory=list)
    mini_app: dict[str, Any] = field(default_factory=dict)
    ports: dict[str, Any] = field(default_factory=dict)
    file_bytes: int = 0
    bytes_moved: int = 0
    sha256_sent: str = ""
    sha256_received: str = ""
    transfer_seconds: float = 0.0
    seconds: float = 0.0
    is_standalone: bool = True
    problems: list[str] = field(default_factory=list)

    @property
    def mb_per_s(self) -> float:
        """Rate of the file, in 10^6 bytes a second."""
        return self.bytes_moved / self.transfer_seconds / 1e6 if self.transfer_seconds else 0.0

    @property
    def is_ok(self) -> bool:
        """All of it held."""
        return (
            self.bytes_moved == self.file_bytes > 0
            and self.sha256_sent == self.sha256_received != ""
            and len(self.registrations) == 2
            and bool(self.applications)
            and bool(self.mini_app)
            and bool(self.streams)
            and all(stream["suite"] for stream in self.streams)
            and all(stream["agrees_with_network"] for stream in self.streams)
            and not self.problems
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "ok": self.is_ok,
            "problems": self.problems,
            "registrations": self.registrations,
            "streams": self.streams,
            "applications": self.applications,
            "mini_app": self.mini_app,
            "ports": self.ports,
            "standalone_data_channel_session": self.is_standalone,
            "bytes_moved": self.bytes_moved,
            "sha256_sent": self.sha256_sent,
            "sha256_received": self.sha256_received,
            "transfer_seconds": round(self.transfer_seconds, 6),
            "seconds": round(self.seconds, 6),
            "mb_per_s": round(self.mb_per_s, 3),
        }


def make_sample_file(path: Path, size_bytes: int) -> None:
    """Write a file of random bytes, a chunk at a time."""
    with path.open("wb") as file:
        while size_bytes > 0:
            size_bytes -= file.write(os.urandom(min(CHUNK_BYTES, size_bytes)))


async def _read_file(path: Path, digest: Any) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            yield chunk


class Demo:
    """Runs the scenario once.

    Args:
        network: the emulated network, running.
        reporter: is told what happens.
        source: the file to move.
        target: where the other side stores it.
        overrides: for both clients' configurations.
        capture: pcapng file of what the calling client sends and receives, or ``None``.
    """

    def __init__(
        self,
        network: Network,
        reporter: Reporter,
        *,
        source: Path,
        target: Path,
        overrides: dict[str, Any],
        capture: Path | None = None,
    ) -> None:
        self._network = network
        self._reporter = reporter
        self._source = source
        self._target = target
        self._overrides = overrides
        self._capture = capture
        self._result = DemoResult(file_bytes=source.stat().st_size)

    async def run(self) -> DemoResult:
        """Run the scenario.

        Raises:
            DcsdkError: any step failed.
        """
        started = time.monotonic()
        alice = Client(
            self._network.client_config("alice", capture=self._capture, **self._overrides)
        )
        bob = Client(self._network.client_config("bob", **self._overrides))
        tasks = TaskSet("demo")
        async with alice, bob:
            for client in (alice, bob):
                registration = await client.register()
                identity = client.config.public_identity
                self._reporter.registered(identity, registration.capabilities)
                self._result.registrations.append(
                    {
                        "identity": identity,
                        "expires_s": registration.expires_s,
                        "signalling": registration.grant.signalling.value,
                        "capabilities": registration.capabilities.as_dict(),
                    }
                )
            received: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
            tasks.start(self._serve(bob, received), name="bob")
            try:
                await self._call(alice, bob.config.public_identity, received)
            finally:
                await tasks.aclose()
        self._reporter.note("both clients hung up and de-registered")
        self._result.seconds = time.monotonic() - started
        return self._result

    # --- bob -----------------------------------------------------------------------------------
    async def _serve(self, bob: Client, received: asyncio.Future[tuple[int, str]]) -> None:
        """Answer one call, take one file."""
        try:
            async for call in bob.incoming():
                async with await call.accept() as session:
                    self._reporter.note(f"bob answered {call.asserted_identity}")
                    self._add_streams("bob", session)
                    await self._take_file(session, received)
                    await session.wait_ended()
                return
        except DcsdkError as exc:
            if not received.done():
                received.set_exception(exc)
                received.exception()  # alice may have failed first, and nobody asks any more

    async def _take_file(self, session: Session, received: asyncio.Future[tuple[int, str]]) -> None:
        async for request in session.incoming():
            if request.subprotocol != "http" or request.label != FILE_LABEL:
                request.refuse()
                continue
            http = await request.accept()
            self._add_streams("bob", session)
            async for exchange in http.requests():
                digest, size = hashlib.sha256(), 0
                try:
                    with self._target.open("wb") as file:
                        async for chunk in exchange.body():
                            file.write(chunk)
                            digest.update(chunk)
                            size += len(chunk)
                            self._reporter.progress(size, self._result.file_bytes)
                except DcsdkError:
                    raise
                except OSError as exc:
                    received.set_exception(exc)
                    await exchange.respond(507)
                    continue
                await exchange.respond(201, {"x-sha256": digest.hexdigest()})
                received.set_result((size, digest.hexdigest()))
                return

    # --- alice ---------------------------------------------------------------------------------
    async def _call(
        self, alice: Client, target: str, received: asyncio.Future[tuple[int, str]]
    ) -> None:
        self._reporter.note(
            f"alice calls {target}: a standalone data channel session (allow_standalone_dc), "
            "no m=audio without media behind it"
        )
        async with await alice.call(target, [DataChannels(bootstrap=True)]) as session:
            self._show_sdp()
            self._add_streams("alice", session)
            entries = await session.bootstrap.applications()
            self._reporter.applications(entries)
            self._result.applications = [
                {"app_id": entry.app_id, "name": entry.name, "url": entry.url} for entry in entries
            ]
            if not entries:
                raise NegotiationError("the network's application list is empty")
            app = await session.bootstrap.fetch(entries[0])
            self._reporter.mini_app(app)
            self._result.mini_app = {
                "app_id": app.app_id,
                "content_type": app.content_type,
                "bytes": len(app.body),
                "sha256": app.sha256,
            }
            await self._send_file(session, app.app_id, received)

    async def _send_file(
        self, session: Session, app_id: str, received: asyncio.Future[tuple[int, str]]
    ) -> None:
        http = await session.open("http", app_id=app_id, label=FILE_LABEL)
        self._show_sdp()
        self._add_streams("alice", session)
        digest = hashlib.sha256()
        started = time.monotonic()
        response = await http.client.put(
            "http://localhost/file",
            content=_read_file(self._source, digest),
            headers={"content-length": str(self._result.file_bytes)},
        )
        self._result.transfer_seconds = time.monotonic() - started
        if response.status_code != 201:
            if received.done():
                await received  # says why
            raise NegotiationError(f"the file was answered with status {response.status_code}")
        self._result.sha256_sent = digest.hexdigest()
        self._result.bytes_moved, self._result.sha256_received = await received

    # --- what is told --------------------------------------------------------------------------
    def _add_streams(self, owner: str, session: Session) -> None:
        """Tell the streams not told yet, with what the network knows of each."""
        known = {(entry["owner"], entry["line"]) for entry in self._result.streams}
        for stream in session.streams:
            if (owner, stream.index) in known:
                continue
            truth = self._network.scope_of(stream.security.peer_fingerprint)
            claim = stream.security.scope
            self._reporter.stream(owner, stream, truth.value)
            self._result.streams.append(
                {
                    "owner": owner,
                    "line": stream.index,
                    "role": stream.app.role.value,
                    "app_id": stream.app.app_id,
                    "stream_ids": list(stream.app.stream_ids),
                    **stream.security.as_dict(),
                    "network_knows": truth.value,
                    "agrees_with_network": claim in (truth, type(claim).NETWORK_DECIDES),
                }
            )

    def _show_sdp(self) -> None:
        for title, lines in self._network.last_security_lines():
            self._reporter.sdp(title, lines)
