"""Tags of sections: read, and fresh ones that collide with nothing."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sdp.attributes import Attribute
from dcsdk.sdp.bundle.mids import MAX_MID_NUMBER, MAX_MID_OCTETS, MidCounter, is_mid, read_mid
from dcsdk.sdp.media import MediaDescription

AUDIO = MediaDescription(media="audio", port=9, proto="RTP/AVP", formats=("0",))


@pytest.mark.clause("RFC 5888 4")
@pytest.mark.parametrize("mid", ["0", "a", "sdparta_0", "{7f3a}", "audio-1", "m" * MAX_MID_OCTETS])
def test_a_token_is_a_tag(mid: str) -> None:
    assert is_mid(mid)
    assert read_mid(AUDIO.with_attribute("mid", mid).with_attribute("mid", mid)) == mid
    assert read_mid(AUDIO) is None


@pytest.mark.clause("RFC 5888 4")
@pytest.mark.parametrize("mid", [None, "", "a b", "a:b", "é", "a\t", "m" * (MAX_MID_OCTETS + 1)])
def test_what_is_no_token_is_a_parse_error(mid: str | None) -> None:
    with pytest.raises(ParseError):
        read_mid(AUDIO.with_attribute("mid", mid))


@pytest.mark.clause("RFC 5888 4")
def test_two_tags_of_one_section_are_a_parse_error() -> None:
    with pytest.raises(ParseError):
        read_mid(AUDIO.with_attribute("mid", "a").with_attribute("mid", "b"))


@given(value=st.text(st.characters(exclude_characters="\r\n\0"), max_size=300))
def test_any_text_is_a_tag_or_a_parse_error(value: str) -> None:
    with contextlib.suppress(ParseError):
        assert read_mid(AUDIO.with_attributes((Attribute("mid", value),))) == value


@pytest.mark.clause("RFC 9143 15.2")
def test_fresh_tags_are_short_numbers() -> None:
    first, counter = MidCounter().fresh()
    second, counter = counter.fresh()
    assert (first, second) == ("0", "1")
    assert counter.avoiding(["audio", None, "007", "3"]).fresh()[0] == "4"
    assert counter.avoiding(["0"]) == counter


@pytest.mark.clause("RFC 9143 15.2")
def test_a_long_number_of_the_peer_is_no_number_of_ours() -> None:
    assert MidCounter().avoiding([str(MAX_MID_NUMBER + 1), "9" * 200]).fresh()[0] == "0"


def test_a_used_up_counter_is_an_error_and_no_repetition() -> None:
    with pytest.raises(LocalProtocolError):
        MidCounter().avoiding([str(MAX_MID_NUMBER)]).fresh()


NUMBERS = st.integers(min_value=0, max_value=50).map(str)


@given(steps=st.lists(st.none() | st.lists(NUMBERS | st.text(max_size=3), max_size=3), max_size=30))
def test_no_tag_comes_twice_and_none_was_the_peers(steps: list[list[str] | None]) -> None:
    counter, taken = MidCounter(), set[str]()
    for step in steps:
        if step is None:
            mid, counter = counter.fresh()
            assert mid not in taken
            taken.add(mid)
        else:
            counter = counter.avoiding(step)
            taken.update(step)
