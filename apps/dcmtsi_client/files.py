"""Files over an HTTP application channel: streamed from disk to disk, hashed on both sides."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import quote, unquote

CHUNK_BYTES = 256 * 1024
MAX_NAME_BYTES = 120
FILE_LABEL = "file"

Progress = Callable[[str, int], None]


def safe_name(target: str) -> str:
    """Make a file name of what the other side wrote: no folders, no hidden files, no surprises."""
    name = Path(unquote(target.rpartition("/")[2])).name
    name = re.sub(r"[^\w .()+-]", "_", name).strip(". ")
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore") or "unnamed"


def free_path(folder: Path, name: str) -> Path:
    """Return a path in ``folder`` that does not exist yet."""
    path, number = folder / name, 1
    while path.exists():
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
        number += 1
    return path


def readable_file(name: str) -> Path:
    """Return the path of a file that exists.

    Raises:
        ValueError: it does not, or is a folder.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise ValueError(f"there is no file {name!r}")
    return path


def _size(path: Path) -> int:
    return path.stat().st_size


def _remove(part: Path | None) -> None:
    if part is not None:
        part.unlink(missing_ok=True)


async def send_file(http: Any, path: Path, progress: Progress) -> tuple[int, str]:
    """Send one file.

    Returns:
        Its size in bytes and its SHA-256.

    Raises:
        OSError: the file cannot be read.
        ValueError: the other side stored something else.
    """
    digest = hashlib.sha256()
    size = _size(path)

    async def chunks() -> AsyncIterator[bytes]:
        moved = 0
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                moved += len(chunk)
                progress(path.name, moved)
                yield chunk

    response = await http.client.put(
        f"http://localhost/files/{quote(path.name)}",
        content=chunks(),
        headers={"content-length": str(size)},
    )
    if response.status_code != 201 or response.headers.get("x-sha256") != digest.hexdigest():
        raise ValueError(f"{path.name} did not arrive whole (status {response.status_code})")
    return size, digest.hexdigest()


async def receive_files(http: Any, folder: Path, done: Callable[[Path, int, str], None]) -> None:
    """Store every file that comes over one channel, until it closes."""
    async for exchange in http.requests():
        if exchange.method != "PUT":
            await exchange.respond(405)
            continue
        part: Path | None = None
        digest, size = hashlib.sha256(), 0
        try:
            # Two channels may bring the same name: each writes its own file until it is complete.
            with NamedTemporaryFile(dir=folder, prefix=".part-", delete=False) as file:
                part = Path(file.name)
                async for chunk in exchange.body():
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
            path = part.rename(free_path(folder, safe_name(exchange.target)))
        except OSError as exc:
            _remove(part)
            await exchange.respond(507, body=str(exc.strerror).encode())
            continue
        except BaseException:
            _remove(part)
            raise
        await exchange.respond(201, {"x-sha256": digest.hexdigest()})
        done(path, size, digest.hexdigest())
