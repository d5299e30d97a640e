"""What tests of SIP on sockets share."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from dcsdk.interfaces import Address
from tests.io.sip.certificates import tls_contexts


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closed at the end of the test, with all that was put on it."""
    async with AsyncExitStack() as exit_stack:
        yield exit_stack


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server and of clients that trust it."""
    return tls_contexts(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def silent_address() -> Iterator[Address]:
    """A port that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent.getsockname()
