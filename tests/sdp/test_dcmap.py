"""``a=dcmap`` and ``a=dcsa`` (RFC 8864 5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import ParseError
from dcsdk.sdp.dcmap import MAX_STREAM_ID, Dcmap, Dcsa

UINT32 = st.integers(0, 2**32 - 1)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
DCMAPS = st.builds(
    Dcmap,
    stream_id=st.integers(0, MAX_STREAM_ID),
    subprotocol=TEXT,
    label=TEXT,
    is_ordered=st.booleans(),
    max_retr=st.none() | UINT32,
    max_time_ms=st.none() | UINT32,
    priority=st.integers(0, 2**16 - 1),
)


@pytest.mark.clause("RFC 8864 5.1")
@pytest.mark.parametrize(
    ("value", "dcmap"),
    [
        ("0", Dcmap(stream_id=0)),
        (
            '3 label="Label 1";ordered=false;max-retr=5;priority=128',
            Dcmap(stream_id=3, label="Label 1", is_ordered=False, max_retr=5, priority=128),
        ),
        (
            '4 label="foo%09bar";ordered=true;max-time=15000',
            Dcmap(stream_id=4, label="foo\tbar", max_time_ms=15000),
        ),
        ('2 subprotocol="msrp";label="chat"', Dcmap(stream_id=2, subprotocol="msrp", label="chat")),
        (
            '1001 subprotocol="xyz";label="cursor";ordered=false;max-retr=0',
            Dcmap(stream_id=1001, subprotocol="xyz", label="cursor", is_ordered=False, max_retr=0),
        ),
        ("00065", Dcmap(stream_id=65)),
        ('5 label="a;b, c=d"', Dcmap(stream_id=5, label="a;b, c=d")),
        ('5 label="%22%25%C3%A9"', Dcmap(stream_id=5, label='"%é')),
        ('5 label=""', Dcmap(stream_id=5)),
        ("65534 priority=65535", Dcmap(stream_id=65534, priority=65535)),
        ("1 max-retr=4294967295", Dcmap(stream_id=1, max_retr=2**32 - 1)),
    ],
)
def test_examples_of_the_standard_are_read(value: str, dcmap: Dcmap) -> None:
    assert Dcmap.parse(value) == dcmap
    assert Dcmap.parse(str(dcmap)) == dcmap


@pytest.mark.parametrize(
    "value",
    ['0 subprotocol="http"', "7", '3 label="a%22b";ordered=false;max-time=0;priority=1'],
)
def test_the_canonical_form_is_written_back(value: str) -> None:
    assert str(Dcmap.parse(value)) == value


def test_blanks_and_option_names_in_either_case_are_tolerated() -> None:
    assert Dcmap.parse(' 6 Label="x" ; ORDERED=FALSE; max-retr=1 ;') == Dcmap(
        stream_id=6, label="x", is_ordered=False, max_retr=1
    )


def test_utf8_that_came_unescaped_is_read_and_written_escaped() -> None:
    assert str(Dcmap.parse('6 label="é"')) == '6 label="%C3%A9"'


@pytest.mark.clause("RFC 8864 5.1.7")
def test_another_value_of_ordered_is_read_as_true() -> None:
    assert Dcmap.parse("6 ordered=maybe").is_ordered


def test_an_unknown_option_is_skipped() -> None:
    assert Dcmap.parse('6 colour="blue;x";label="y";shape=round') == Dcmap(stream_id=6, label="y")


@pytest.mark.clause("D5", "RFC 8864 6.2")
def test_max_retr_with_max_time_is_read_so_that_only_the_channel_is_refused() -> None:
    assert Dcmap.parse("6 max-retr=1;max-time=2").has_conflict
    assert not Dcmap.parse("6 max-retr=0").has_conflict


@pytest.mark.clause("RFC 8864 5.1")
@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "-1",
        "65535",
        "100000",
        "\u0661",
        "0 label",
        "0 label=x",
        '0 label="x',
        '0 label="x"y',
        '0 label="x" y',
        '0 label="%"',
        '0 label="%4"',
        '0 label="%zz"',
        '0 label="%FF"',
        '0 label="a\x01b"',
        '0 label="a\x7fb"',
        '0 label="\ud800"',
        "0 max-retr=01",
        "0 max-retr=-1",
        "0 max-retr=4294967296",
        "0 max-retr=",
        "0 priority=65536",
        "0 max-time=1;max-time=1",
        '0 label="a";label="b"',
        "0 =1",
        "0 ;",
    ],
)
def test_what_is_no_dcmap_is_a_parse_error(value: str) -> None:
    with pytest.raises(ParseError) as caught:
        Dcmap.parse(value)
    assert caught.value.source == "RFC 8864 5.1"


@given(dcmap=DCMAPS)
def test_every_dcmap_round_trips(dcmap: Dcmap) -> None:
    assert Dcmap.parse(str(dcmap)) == dcmap


@given(value=st.text(max_size=80) | st.from_regex(r"[0-9]{1,5} ([a-z-]+=[^;]*;?)*"))
def test_any_text_is_a_dcmap_or_a_parse_error(value: str) -> None:
    try:
        dcmap = Dcmap.parse(value)
    except ParseError:
        return
    assert Dcmap.parse(str(dcmap)) == dcmap


@pytest.mark.clause("RFC 8864 5.2")
def test_a_dcsa_line_names_a_channel_and_an_attribute() -> None:
    dcsa = Dcsa.parse("2 accept-types:text/plain message/cpim")
    assert dcsa == Dcsa(stream_id=2, attribute="accept-types:text/plain message/cpim")
    assert str(dcsa) == "2 accept-types:text/plain message/cpim"


@pytest.mark.parametrize("value", ["", "2", "2 ", "x accept", "65535 a", "2  "])
def test_what_is_no_dcsa_is_a_parse_error(value: str) -> None:
    with pytest.raises(ParseError):
        Dcsa.parse(value)


@given(value=st.text(max_size=40))
def test_any_text_is_a_dcsa_or_a_parse_error(value: str) -> None:
    try:
        dcsa = Dcsa.parse(value)
    except ParseError:
        return
    assert Dcsa.parse(str(dcsa)) == dcsa
