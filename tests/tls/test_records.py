from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.tls.records import handshake_records, is_data_run, is_dtls, split_records


def record(
    body: bytes, *, kind: int = 23, version: bytes = b"\xfe\xfd", epoch: int = 1, sequence: int = 0
) -> bytes:
    head = bytes((kind,)) + version + epoch.to_bytes(2, "big") + sequence.to_bytes(6, "big")
    return head + len(body).to_bytes(2, "big") + body


@pytest.mark.clause("RFC 7983 7")
@pytest.mark.parametrize(
    ("first", "expected"),
    [(0, False), (3, False), (19, False), (20, True), (63, True), (64, False)],
)
def test_dtls_is_told_by_the_first_byte(first: int, expected: bool) -> None:
    assert is_dtls(bytes((first, 0))) is expected


def test_an_empty_datagram_is_not_dtls() -> None:
    assert not is_dtls(b"")


def test_equal_application_records_are_a_run() -> None:
    data = b"".join(record(bytes(300), sequence=n) for n in range(50))
    assert is_data_run(data, 313)


def test_the_last_segment_of_a_run_may_be_shorter() -> None:
    data = record(bytes(300)) + record(bytes(300)) + record(bytes(7))
    assert is_data_run(data, 313)


def test_a_single_record_is_a_run() -> None:
    assert is_data_run(record(b"x"), 14)
    assert is_data_run(record(b"x"), 1500)


@pytest.mark.parametrize(
    "odd",
    [
        record(bytes(300), kind=22),
        record(bytes(300), epoch=0),
        record(bytes(300), epoch=2),
        record(bytes(300), version=b"\xfe\xff"),
        record(bytes(100)) + record(bytes(187)),
        bytes(313),
    ],
    ids=["handshake", "epoch 0", "epoch 2", "DTLS 1.0", "two records", "zeros"],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_odd_segment_spoils_a_run(odd: bytes, place: int) -> None:
    segments = [record(bytes(300)), record(bytes(300))]
    segments.insert(place, odd)
    assert not is_data_run(b"".join(segments), 313)


@pytest.mark.parametrize("tail", [b"\x17", record(b"ab")[:-1], record(b"ab", kind=21)])
def test_an_odd_tail_spoils_a_run(tail: bytes) -> None:
    assert not is_data_run(record(bytes(300)) * 2 + tail, 313)


def test_segments_shorter_than_a_header_are_no_run() -> None:
    assert not is_data_run(bytes(26), 13)
    assert not is_data_run(b"\x17\xfe\xfd\x00\x01" * 3, 5)


@given(st.binary(max_size=200), st.integers(1, 250))
def test_any_bytes_are_judged(data: bytes, segment_size: int) -> None:
    if is_data_run(data, segment_size):
        assert data[:5] == b"\x17\xfe\xfd\x00\x01" or not data


def test_handshake_records_pass_before_the_handshake_is_done() -> None:
    flight = record(b"hello", kind=22, epoch=0) + record(b"\x01", kind=20, epoch=0)
    finished = record(bytes(40), kind=22, epoch=1)
    assert handshake_records(flight + finished) == flight + finished


@pytest.mark.clause("RFC 6347 4.1.2.7")
def test_plain_application_data_is_left_out() -> None:
    hello = record(b"hello", kind=22, epoch=0)
    plain = record(b"attack", kind=23, epoch=0)
    assert handshake_records(plain + hello + plain) == hello
    assert handshake_records(plain) == b""


def test_encrypted_application_data_that_overtook_the_finished_passes() -> None:
    early = record(bytes(40), kind=23, epoch=1)
    assert handshake_records(early) == early


def test_everything_from_a_cut_record_on_is_left_out() -> None:
    hello = record(b"hello", kind=22, epoch=0)
    assert handshake_records(hello + hello[:-1]) == hello
    assert handshake_records(hello + b"\x00" * 20) == hello
    assert handshake_records(hello[:12]) == b""


@given(st.binary(max_size=300))
def test_any_datagram_is_cut_to_whole_records(data: bytes) -> None:
    kept = handshake_records(data)
    assert len(kept) <= len(data)
    assert handshake_records(kept) == kept


def test_records_are_packed_into_datagrams() -> None:
    records = [record(bytes(size)) for size in (500, 500, 400, 1300, 10)]
    datagrams = split_records(b"".join(records), 1200)
    assert datagrams == [records[0] + records[1], records[2], records[3], records[4]]


@given(st.lists(st.integers(0, 2000), max_size=20), st.integers(1, 1500))
def test_packing_loses_nothing(sizes: list[int], max_size: int) -> None:
    records = [record(bytes(size)) for size in sizes]
    datagrams = split_records(b"".join(records), max_size)
    assert b"".join(datagrams) == b"".join(records)
    assert all(datagrams)
    for datagram in datagrams:
        assert len(datagram) <= max_size or datagram in records


@given(st.binary(max_size=300), st.integers(1, 300))
def test_packing_any_bytes_loses_nothing(data: bytes, max_size: int) -> None:
    assert b"".join(split_records(data, max_size)) == data
