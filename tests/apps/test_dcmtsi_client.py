"""The sample client: two processes against ``dcsdk emulator``, driven as a person would."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from apps.dcmtsi_client.__main__ import show
from apps.dcmtsi_client.files import (
    MAX_NAME_BYTES,
    free_path,
    readable_file,
    receive_files,
    safe_name,
)
from dcsdk import Client, ClientConfig
from tests.processes import ROOT, read_line, running

TIMEOUT_S = 20.0
BOB = "sip:bob@ims.example"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run ``dcsdk emulator`` on free ports; the folder with its users' configurations."""
    folder = tmp_path_factory.mktemp("ims")
    config = folder / "network.toml"
    config.write_text("udp_port = 0\ntcp_port = 0\ntls_port = 0\n")
    command = ["-m", "dcsdk", "emulator", "--folder", str(folder), "--config", str(config)]
    with running(*command, folder=ROOT) as process:
        assert json.loads(read_line(process))["ready"]
        yield folder


class Terminal:
    """One run of the client, with its keyboard and its screen."""

    def __init__(self, process: asyncio.subprocess.Process, downloads: Path) -> None:
        self.process = process
        self.downloads = downloads
        self.shown: list[str] = []

    def type(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(line + "\n" for line in lines).encode())

    async def see(self, text: str) -> str:
        """Read on until a line has this text."""
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT_S):
            while line := (await self.process.stdout.readline()).decode():
                self.shown.append(line.rstrip("\n"))
                if text in line:
                    return self.shown[-1]
        raise AssertionError(f"{text!r} never came; there was: {self.shown}")

    async def end(self) -> int:
        """Close the keyboard; returns the status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(TIMEOUT_S):
            return await self.process.wait()


@asynccontextmanager
async def terminal(
    emulator: Path,
    name: str,
    folder: Path,
    *options: str,
    stdin: int | IO[str] = asyncio.subprocess.PIPE,
) -> AsyncIterator[Terminal]:
    """Run the client until the context ends."""
    downloads = folder / f"{name}-downloads"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-m",
        "apps.dcmtsi_client",
        str(emulator / f"{name}.toml"),
        "--downloads",
        str(downloads),
        *options,
        cwd=ROOT,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        run = Terminal(process, downloads)
        yield run
        if process.returncode is None:
            assert await run.end() == 0, run.shown
    finally:
        if process.returncode is None:
            process.kill()
        # Reads what is left and lets go of the pipes.
        await process.communicate()


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_two_people_call_fetch_chat_and_send_files(emulator: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name} holiday.jpg" for name in ("alice", "bob")}
    for path in files.values():
        path.write_bytes(os.urandom(700_000))
    async with (
        terminal(emulator, "alice", tmp_path) as alice,
        terminal(emulator, "bob", tmp_path) as bob,
    ):
        for user in (alice, bob):
            await user.see("registered as")
            await user.see("e2dce-dtls")
        alice.type(f"call {BOB}")
        await bob.see("sip:alice@ims.example calls: answer or reject?")
        bob.type("answer")
        await bob.see("in a call with sip:alice@ims.example")
        await alice.see(f"in a call with {BOB}")

        alice.type("apps", "fetch whiteboard", "fetch nothing")
        await alice.see("whiteboard: Whiteboard")
        page = Path((await alice.see("text/html")).rpartition(" in ")[2])
        assert page.parent == alice.downloads
        assert sha256_of(page).startswith(page.stem)
        await alice.see("no mini-app 'nothing'")

        alice.type("chat hello bob")
        await bob.see("< hello bob")
        bob.type("chat hello alice, how are you?")
        await alice.see("< hello alice, how are you?")

        for user, other, name in ((alice, bob, "alice"), (bob, alice, "bob")):
            user.type(f"send {files[name]}")
            sent = await user.see("sent ")
            received = await other.see("received ")
            digest = sha256_of(files[name])
            assert sent.endswith(digest) and received.endswith(digest)
            assert sha256_of(other.downloads / files[name].name) == digest

        alice.type("security")
        assert "e2dce" in await alice.see("bootstrap")
        assert "network-decides" in await alice.see("application")

        bob.type("hangup")
        await alice.see("the call ended: the peer ended the call")
        await bob.see("the call ended")
        alice.type("quit")
        await alice.see("bye")


async def test_calls_are_rejected_or_answered_by_themselves(emulator: Path, tmp_path: Path) -> None:
    async with (
        terminal(emulator, "alice", tmp_path) as alice,
        terminal(emulator, "bob", tmp_path, "--auto-answer") as bob,
    ):
        for user in (alice, bob):
            await user.see("registered as")
        bob.type("call sip:alice@ims.example")
        await alice.see("calls: answer or reject?")
        alice.type("reject")
        await bob.see("! the call was refused: 486")
        alice.type(f"call {BOB}")
        await alice.see("in a call with")
        alice.type("hangup", "call sip:nobody@ims.example")
        await bob.see("the call ended")
        await alice.see("! the call was refused: 404")


async def test_a_phone_whose_caller_gave_up_rings_again(emulator: Path, tmp_path: Path) -> None:
    async with terminal(emulator, "bob", tmp_path) as bob:
        await bob.see("registered as")
        async with Client(ClientConfig.load(emulator / "alice.toml")) as alice:
            await alice.register()
            for _ in range(2):
                calling = asyncio.create_task(alice.call(BOB))
                await bob.see("calls: answer or reject?")
                calling.cancel()
                await bob.see("the call ended: the caller gave up")
                await asyncio.wait([calling])
                assert calling.cancelled()


async def test_commands_that_make_no_sense_are_explained(emulator: Path, tmp_path: Path) -> None:
    async with terminal(emulator, "alice", tmp_path) as alice:
        await alice.see("registered as")
        for line, answer in (
            ("dance", "unknown command 'dance'"),
            ("help", "quit leave"),
            ("call", "call whom?"),
            ("answer", "nobody calls"),
            ("reject", "nobody calls"),
            ("chat hello", "! no call is up"),
            ("send nothing.txt", "! there is no file 'nothing.txt'"),
            ("security", "! no call is up"),
        ):
            alice.type(line, "")
            await alice.see(answer)


async def test_a_file_name_of_the_other_side_stays_in_the_downloads_folder(
    emulator: Path, tmp_path: Path
) -> None:
    """Our own client sends what no person could type."""
    async with terminal(emulator, "bob", tmp_path, "--auto-answer") as bob:
        await bob.see("registered as")
        async with Client(ClientConfig.load(emulator / "alice.toml")) as alice:
            await alice.register()
            async with await alice.call(BOB) as session:
                http = await session.open("http", label="file")
                for target in ("/files/../../x", "/files/..%2f..%2fx", "/files/.bashrc", "/"):
                    response = await put(http, target, b"content")
                    assert response.status_code == 201
                    await bob.see("received")
                assert (await http.client.get("http://localhost/files/x")).status_code == 405
        await bob.see("the call ended")
    assert names_in(bob.downloads) == ["bashrc", "unnamed", "x", "x-1"]
    assert names_in(tmp_path) == ["bob-downloads"]


async def put(http: Any, target: str, content: bytes) -> Any:
    """PUT to a target as it is written: clients tidy ``..`` away."""
    request = http.client.build_request("PUT", "http://localhost/", content=content)
    request.url = request.url.copy_with(raw_path=target.encode())
    return await http.client.send(request)


async def test_a_downloads_folder_that_went_away_refuses_the_file_and_goes_on(
    emulator: Path, tmp_path: Path
) -> None:
    """A folder that cannot be written, or a full disk; permissions do not stop root."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(os.urandom(3_000_000))
    async with (
        terminal(emulator, "alice", tmp_path) as alice,
        terminal(emulator, "bob", tmp_path, "--auto-answer") as bob,
    ):
        for user in (alice, bob):
            await user.see("registered as")
        alice.type(f"call {BOB}")
        await alice.see("in a call with")
        bob.downloads.rmdir()
        alice.type(f"send {photo}")
        await alice.see("! photo.jpg did not arrive whole (status 507)")
        bob.downloads.mkdir()
        alice.type(f"send {photo}")
        await alice.see("sent photo.jpg: 3000000 bytes")
        await bob.see("received photo.jpg: 3000000 bytes")
        assert names_in(bob.downloads) == ["photo.jpg"]


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        ("public_identity = 'sip:a@b'\ncolour = 1\n", 2, "unknown configuration key colour"),
        ("public_identity = 'sip:a@b'\npcscf_port = 1\n", 1, "port 1"),
    ],
)
async def test_a_client_that_cannot_start_says_why_in_one_line(
    tmp_path: Path, text: str, status: int, says: str
) -> None:
    (tmp_path / "alice.toml").write_text(text)
    async with terminal(tmp_path, "alice", tmp_path) as alice:
        line = await alice.see(says)
        assert line.startswith("dcmtsi_client: ")
        assert await alice.end() == status


# --- names and places -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/files/photo.jpg", "photo.jpg"),
        ("/files/a%20b.txt", "a b.txt"),
        ("/files/../../etc/passwd", "passwd"),
        ("/files/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("/files/..", "unnamed"),
        ("/files/", "unnamed"),
        ("/files/.profile", "profile"),
        ("/files/a%00b", "a_b"),
        ("/files/a%0Ab", "a_b"),
        ("/files/C:%5Cautoexec.bat", "C__autoexec.bat"),
        ("/files/" + "x" * 500, "x" * MAX_NAME_BYTES),
        ("/files/" + "%E6%96%87" * 500, "文" * (MAX_NAME_BYTES // 3)),
        ("/files/a%E2%80%AEfdp.exe", "a_fdp.exe"),
    ],
)
def test_names_of_the_other_side_are_made_safe(target: str, name: str) -> None:
    assert safe_name(target) == name


class TwoHalves:
    """A PUT whose body comes in two pieces, the second when the test says so."""

    method = "PUT"
    target = "/files/same.txt"

    def __init__(self, first: bytes, second: bytes) -> None:
        self._pieces = (first, second)
        self.go_on = asyncio.Event()
        self.began = asyncio.Event()
        self.status = 0

    async def requests(self) -> AsyncIterator[TwoHalves]:
        yield self

    async def body(self) -> AsyncIterator[bytes]:
        yield self._pieces[0]
        self.began.set()
        await self.go_on.wait()
        yield self._pieces[1]

    async def respond(self, status: int, headers: Any = None, body: bytes = b"") -> None:
        self.status = status


async def test_two_files_of_one_name_at_the_same_time_stay_two_files(tmp_path: Path) -> None:
    one, two = TwoHalves(b"one", b"ONE"), TwoHalves(b"two", b"TWO")
    tasks = [
        asyncio.create_task(receive_files(end, tmp_path, lambda *_: None)) for end in (one, two)
    ]
    for end in (one, two):
        await end.began.wait()
        end.go_on.set()
    await asyncio.gather(*tasks)
    assert (one.status, two.status) == (201, 201)
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"oneONE", b"twoTWO"]
    assert names_in(tmp_path) == ["same-1.txt", "same.txt"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[2Jevil", r"\x1b[2Jevil"), ("a\u202eb", r"a\u202eb"), ("plain ä", "plain ä")],
)
def test_what_others_wrote_cannot_steer_the_terminal(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(text)
    assert capsys.readouterr().out == shown + "\n"


@pytest.mark.parametrize("text", ["security\n", "", "x" * 200_000 + "\nsecurity\n"])
async def test_commands_may_come_from_a_file(emulator: Path, tmp_path: Path, text: str) -> None:
    script = tmp_path / "script"
    script.write_text(text)
    with script.open() as file:
        async with terminal(emulator, "alice", tmp_path, stdin=file) as alice:
            if text:
                await alice.see("! no call is up")
            await alice.see("bye")
            await alice.process.wait()


async def test_a_device_that_is_empty_ends_the_client(emulator: Path, tmp_path: Path) -> None:
    async with terminal(emulator, "alice", tmp_path, stdin=asyncio.subprocess.DEVNULL) as alice:
        await alice.see("bye")
        await alice.process.wait()


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        path = free_path(tmp_path, "photo.jpg")
        path.touch()
        names.append(path.name)
    assert names == ["photo.jpg", "photo-1.jpg", "photo-2.jpg"]


def test_only_files_can_be_sent(tmp_path: Path) -> None:
    for name in (str(tmp_path), str(tmp_path / "none")):
        with pytest.raises(ValueError, match="there is no file"):
            readable_file(name)
