from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.io.net.demux import KINDS, PacketKind, is_all_dtls, split_by_kind


@pytest.mark.clause("RFC 7983 7")
@pytest.mark.parametrize(
    ("first", "last", "kind"),
    [
        (0, 3, PacketKind.STUN),
        (4, 15, PacketKind.UNKNOWN),
        (16, 19, PacketKind.ZRTP),
        (20, 63, PacketKind.DTLS),
        (64, 79, PacketKind.TURN_CHANNEL),
        (80, 127, PacketKind.UNKNOWN),
        (128, 191, PacketKind.RTP),
        (192, 255, PacketKind.UNKNOWN),
    ],
)
def test_the_first_byte_tells_the_protocol(first: int, last: int, kind: PacketKind) -> None:
    assert set(KINDS[first : last + 1]) == {kind}


def test_runs_of_one_kind_stay_together() -> None:
    data = b"\x16aa\x17bb\x00cc\x80d"
    assert list(split_by_kind(data, 3)) == [
        (PacketKind.DTLS, b"\x16aa\x17bb", 3),
        (PacketKind.STUN, b"\x00cc", 3),
        (PacketKind.RTP, b"\x80d", 3),
    ]


@given(data=st.binary(min_size=1, max_size=200), size=st.integers(1, 50))
def test_splitting_keeps_every_datagram_in_order(data: bytes, size: int) -> None:
    runs = list(split_by_kind(data, size))
    assert b"".join(run for _, run, _ in runs) == data
    for kind, run, run_size in runs:
        assert {KINDS[first] for first in run[::run_size]} == {kind}
    assert is_all_dtls(data, size) == ({kind for kind, _, _ in runs} == {PacketKind.DTLS})
