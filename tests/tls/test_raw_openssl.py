"""What the raw way promises beyond the suite that it shares with the public way."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from dcsdk.errors import ConfigError
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.tls import raw_openssl
from dcsdk.tls.protection import PublicProtection, RecordProtection
from dcsdk.tls.raw_openssl import RawProtection
from dcsdk.tls.records import GCM_OVERHEAD, split_records

from .ends import End, errors_left, make_pair, pump

MAX_PACKET = 1163
REAL: Any = raw_openssl._lib


def connections(pair: tuple[End, End]) -> tuple[SSL.Connection, SSL.Connection]:
    client, server = pair[0].machine._ssl, pair[1].machine._ssl
    assert client is not None and server is not None
    return client, server


def established() -> tuple[SSL.Connection, SSL.Connection]:
    pair = make_pair()
    pump(*pair)
    return connections(pair)


def unprotect(
    protection: RecordProtection, records: list[bytes], size: int
) -> tuple[list[bytes], type[Exception] | None]:
    """Return the plaintext and what was raised after it."""
    packets: list[bytes] = []
    try:
        protection.unprotect(b"".join(records), len(records), size, packets)
    except SSL.Error as exc:
        return packets, type(exc)
    return packets, None


@given(
    st.lists(st.integers(1, MAX_PACKET), min_size=1, max_size=54).map(
        lambda sizes: sorted(sizes, reverse=True)
    ),
    st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["again", "broken", "cut", "gone"]))),
)
def test_both_ways_make_the_same_records_and_read_the_same_from_them(
    sizes: list[int], accidents: list[tuple[int, str]]
) -> None:
    packets = [bytes([number]) * size for number, size in enumerate(sizes)]
    read = []
    for make in (PublicProtection, RawProtection):
        client, server = established()
        records = split_records(make(client).protect(packets), 1)
        assert [len(record) for record in records] == [size + GCM_OVERHEAD for size in sizes]
        for place, accident in accidents:
            at = place % max(1, len(records))
            if accident == "again":
                records[at:at] = records[at : at + 1]
            elif accident == "broken" and records:
                records[at] = records[at][:-1] + bytes([records[at][-1] ^ 1])
            elif accident == "cut" and records:
                records[at] = records[at][:-3]
            else:
                del records[at : at + 1]
        if records:
            read.append(unprotect(make(server), records[:12], MAX_PACKET + GCM_OVERHEAD))
        assert errors_left() == 0
        with pytest.raises(SSL.WantReadError):
            client.bio_read(1)  # nothing was left behind for the next records
    assert not read or read[0] == read[1]


@given(st.integers(1, 200), st.integers(1, 300))
def test_a_record_larger_than_announced_overflows_nothing(size: int, announced: int) -> None:
    read = []
    for make in (PublicProtection, RawProtection):
        client, server = established()
        record = PublicProtection(client).protect([bytes(range(size))])
        packets, error = unprotect(make(server), [record], announced)
        assert error is None
        assert packets == [bytes(range(size))[:announced]]
        read.append(packets)
    assert read[0] == read[1]


@pytest.mark.parametrize("make", [PublicProtection, RawProtection])
def test_a_connection_that_is_shut_cannot_be_written(make: type[RawProtection]) -> None:
    client, _ = established()
    client.shutdown()
    with pytest.raises(SSL.Error, match="protocol is shutdown"):
        make(client).protect([b"x"])
    assert errors_left() == 0


@pytest.mark.parametrize("make", [PublicProtection, RawProtection])
def test_a_close_alert_is_told_from_an_error(make: type[RawProtection]) -> None:
    client, server = established()
    client.shutdown()
    assert unprotect(make(server), [client.bio_read(1 << 14)], 1200) == ([], SSL.ZeroReturnError)


@pytest.mark.parametrize("make", [PublicProtection, RawProtection])
def test_an_empty_input_is_nothing_to_read(make: type[RawProtection]) -> None:
    _, server = established()
    assert unprotect(make(server), [b""], 1200)[0] == []


@pytest.mark.parametrize("judge", ["_raise_ssl_error", "_handle_bio_errors"])
def test_a_failed_call_gives_nothing_even_where_nobody_says_what_failed(
    judge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = established()
    monkeypatch.setattr(SSL.Connection, judge, lambda *arguments: None)
    record = PublicProtection(client).protect([b"x"])
    monkeypatch.setattr(raw_openssl, "_lib", Failing())
    with pytest.raises(SSL.Error):
        RawProtection(client).protect([b"x"])
    received: list[bytes] = []
    with pytest.raises(SSL.Error):
        RawProtection(server).unprotect(record, 1, len(record), received)
    assert received == []


def test_the_handles_keep_their_connection_alive() -> None:
    client, server = established()
    sending, receiving = RawProtection(client), RawProtection(server)
    del client, server
    gc.collect()
    records = sending.protect([b"still here"])
    assert unprotect(receiving, [records], 1200) == ([b"still here"], None)


# --- the feature test -----------------------------------------------------------------------------
@pytest.fixture
def _untested() -> object:
    raw_openssl.unavailable_reason.cache_clear()
    yield
    raw_openssl.unavailable_reason.cache_clear()


@pytest.mark.usefixtures("_untested")
def test_the_raw_way_is_there_with_the_versions_we_are_tested_with() -> None:
    assert raw_openssl.unavailable_reason() is None
    assert raw_openssl.is_raw_openssl_available()
    assert EngineConfig(is_raw_openssl=True).is_raw_openssl
    assert not EngineConfig().is_raw_openssl


class NoFunctions:
    """A library without what we look for."""


class Liar:
    """A library whose reads return nonsense."""

    def __getattr__(self, name: str) -> object:
        return getattr(REAL, name)

    @staticmethod
    def SSL_read(ssl: object, buffer: object, size: int) -> int:
        return 1


class Failing(Liar):
    """A library whose calls fail."""

    @staticmethod
    def SSL_read(ssl: object, buffer: object, size: int) -> int:
        return -1

    @staticmethod
    def BIO_read(bio: object, buffer: object, size: int) -> int:
        return -1


class Replayer(Liar):
    """A library that cannot tell that there is nothing to read."""

    @staticmethod
    def SSL_read(ssl: object, buffer: object, size: int) -> int:
        result: int = REAL.SSL_read(ssl, buffer, size)
        return max(result, 1)


@pytest.mark.usefixtures("_untested")
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("_lib", None, "no handles"),
        ("_ffi", None, "no handles"),
        ("_allocate", None, "no handles"),
        ("_lib", NoFunctions(), "SSL_write"),
        ("_lib", Liar(), "came out as others"),
        ("_lib", Replayer(), "a replayed record was taken"),
    ],
)
def test_where_a_handle_is_missing_the_switch_is_refused_with_the_reason(
    name: str, value: object, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_openssl, name, value)
    assert not raw_openssl.is_raw_openssl_available()
    with pytest.raises(ConfigError, match=f"is_raw_openssl.*{reason}"):
        EngineConfig(is_raw_openssl=True)
    EngineConfig()


@pytest.mark.usefixtures("_untested")
@pytest.mark.parametrize("handle", ["_ssl", "_into_ssl", "_from_ssl"])
def test_a_connection_without_a_handle_is_no_raw_way(
    handle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        """A connection that keeps its handle to itself."""

        def __init__(self, connection: SSL.Connection) -> None:
            self._inner = connection

        def __getattr__(self, name: str) -> object:
            if name == handle:
                raise AttributeError(name)
            return getattr(self._inner, name)

    class Hidden(RawProtection):
        def __init__(self, connection: SSL.Connection) -> None:
            super().__init__(Closed(connection))  # type: ignore[arg-type]

    monkeypatch.setattr(raw_openssl, "RawProtection", Hidden)
    assert raw_openssl.unavailable_reason() == f"AttributeError: {handle}"
