"""How the demonstration is shown: a timeline for people, or nothing at all for ``--json``."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from dcsdk import AppEntry, Capabilities, MiniApp, Stream
from dcsdk.cli.demo import DemoResult


class SilentReporter:
    """Shows nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def registered(self, identity: str, capabilities: Capabilities) -> None:
        """Show nothing."""

    def sdp(self, title: str, lines: list[str]) -> None:
        """Show nothing."""

    def stream(self, owner: str, stream: Stream, truth: str) -> None:
        """Show nothing."""

    def applications(self, entries: list[AppEntry]) -> None:
        """Show nothing."""

    def mini_app(self, app: MiniApp) -> None:
        """Show nothing."""

    def progress(self, moved: int, total: int) -> None:
        """Show nothing."""


class TimelineReporter:
    """A timeline on the terminal, with the seconds since the start before each line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._progress = Progress(
            TextColumn("        file"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._bar = self._progress.add_task("file", total=None)

    def note(self, text: str) -> None:
        """Show one line."""
        elapsed = time.monotonic() - self._started
        self._print(f"[dim]{elapsed:7.3f}[/] {escape(text)}")

    def _detail(self, text: str) -> None:
        self._print(f"        {text}", soft_wrap=True)

    def _print(self, text: str, *, soft_wrap: bool = False) -> None:
        """Print as it is: ``:AB:`` in a fingerprint is no emoji."""
        self._console.print(text, highlight=False, emoji=False, soft_wrap=soft_wrap)

    def registered(self, identity: str, capabilities: Capabilities) -> None:
        """Show the capability table."""
        self.note(f"{identity} is registered over TLS; both sides support:")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("        media", "scope", "named by", "UE", "network", "both"):
            table.add_column(column)
        for row in capabilities.media:
            if row.is_ue or row.is_network:
                cells = (row.is_ue, row.is_network, row.is_agreed)
                words = ["yes" if cell else "no" for cell in cells]
                table.add_row(f"        {row.kind}", row.scope.value, row.mechanism, *words)
        for feature in (capabilities.data_channel, capabilities.dc_mux):
            cells = (feature.is_ue, feature.is_network, feature.is_agreed)
            words = ["yes" if cell else "no" for cell in cells]
            table.add_row("        dc", "-", feature.name, *words)
        self._console.print(table)

    def sdp(self, title: str, lines: list[str]) -> None:
        """Show the security lines of an offer or answer."""
        self.note(title)
        for line in lines:
            self._detail(f"[cyan]{escape(line)}[/]")

    def stream(self, owner: str, stream: Stream, truth: str) -> None:
        """Show one protected stream."""
        report = stream.security
        ids = ", ".join(map(str, stream.app.stream_ids)) or "none yet"
        self.note(f"{owner}: {stream.app.role.value} line {stream.index}, channels {ids}")
        self._detail(
            f"scope [bold]{report.scope.value}[/]: {escape(report.reason)}; "
            f"the network knows: [bold]{truth}[/]"
        )
        self._detail(
            f"{report.backend}, {report.version}, {report.suite}; "
            f"signalling {report.signalling.value}"
        )
        self._detail(f"peer {report.peer_fingerprint[:40]}...")

    def applications(self, entries: list[AppEntry]) -> None:
        """Show the application list."""
        self.note(f"application list over the bootstrap channel: {len(entries)} entries")
        for entry in entries:
            self._detail(f"{escape(entry.app_id)}: {escape(entry.name)} ({escape(entry.url)})")

    def mini_app(self, app: MiniApp) -> None:
        """Show the fetched mini-app."""
        self.note(
            f"mini-app {app.app_id}: {app.content_type}, {len(app.body)} bytes, "
            f"sha256 {app.sha256[:16]}..."
        )

    def progress(self, moved: int, total: int) -> None:
        """Move the bar."""
        if not self._progress.live.is_started:
            self._progress.start()
        self._progress.update(self._bar, completed=moved, total=total)
        if moved >= total:
            self._progress.stop()

    def stop(self) -> None:
        """Leave the terminal as it was, whatever happened."""
        if self._progress.live.is_started:
            self._progress.stop()

    def result(self, result: DemoResult) -> None:
        """Show the end."""
        equal = result.sha256_sent == result.sha256_received != ""
        self._detail(f"sha256 sent     {result.sha256_sent}")
        verdict = "[green]equal[/]" if equal else "[red]DIFFERENT[/]"
        self._detail(f"sha256 received {result.sha256_received} {verdict}")
        self.note(
            f"{result.bytes_moved} bytes in {result.transfer_seconds:.3f} s = "
            f"{result.mb_per_s:.1f} MB/s; everything took {result.seconds:.3f} s"
        )
        self._print("[green bold]OK[/]" if result.is_ok else "[red bold]FAILED[/]")
