from __future__ import annotations

import pytest

from dcsdk.tls.context import DtlsContext
from dcsdk.tls.protection import MakeProtection, PublicProtection
from dcsdk.tls.raw_openssl import RawProtection

from .ends import End, make_pair, pump


@pytest.fixture(params=[PublicProtection, RawProtection], ids=["public", "raw"])
def protection(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MakeProtection:
    """Run a test with each way to OpenSSL: contexts that are told none use this one."""
    make: MakeProtection = request.param
    defaults = DtlsContext.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "protection", make)
    return make


@pytest.fixture
def pair() -> tuple[End, End]:
    client, server = make_pair()
    pump(client, server)
    assert client.machine.is_established
    assert server.machine.is_established
    return client, server
