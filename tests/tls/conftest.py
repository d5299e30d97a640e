from __future__ import annotations

import pytest

from .ends import End, make_pair, pump


@pytest.fixture
def pair() -> tuple[End, End]:
    client, server = make_pair()
    pump(client, server)
    assert client.machine.is_established
    assert server.machine.is_established
    return client, server
