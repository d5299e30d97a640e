"""The medium ``data_channel``: what needs no other end."""

from __future__ import annotations

import pytest

from dcsdk.errors import LocalProtocolError
from dcsdk.plugins.media.data_channel import StreamIds


class Line:
    def __init__(self, *reserved: int) -> None:
        self.reserved = set(reserved)


@pytest.mark.clause("RFC 8831 6.7")
def test_an_id_that_was_given_up_comes_again_when_all_others_had_their_turn() -> None:
    ids = StreamIds()
    for stream_id in (65_533, 65_534, 65_533):
        assert ids.take(65_533, 1) == [stream_id]
        ids.give_up(stream_id)


@pytest.mark.clause("RFC 8864 6.1")
def test_there_is_no_other_id_when_all_are_in_use() -> None:
    ids = StreamIds()
    ids.lines.append(Line(65_534))  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="every stream id is in use"):
        ids.take(65_534, 1)


def test_several_ids_at_once_are_all_different() -> None:
    ids = StreamIds()
    ids.lines.append(Line(1001))  # type: ignore[arg-type]
    assert ids.take(1000, 3) == [1000, 1002, 1003]
