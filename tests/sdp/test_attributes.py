"""Attribute lines and the values of setup, tls-id, sctp-port, max-message-size."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sdp.attributes import (
    LARGEST_MESSAGE_SIZE,
    Attribute,
    Setup,
    new_tls_id,
    parse_max_message_size,
    parse_sctp_port,
    parse_setup,
    parse_tls_id,
)


@pytest.mark.parametrize("text", ["ice-lite", "setup:active", "x:", "x:a:b", "", ":x"])
def test_an_attribute_is_written_as_it_came(text: str) -> None:
    assert str(Attribute.parse(text)) == text


def test_a_property_attribute_differs_from_an_empty_value() -> None:
    assert Attribute.parse("x").value is None
    assert Attribute.parse("x:").value == ""


@pytest.mark.parametrize(
    ("name", "value"), [("a\r\nb", None), ("a", "x\ny"), ("a", "\0"), ("a:b", "c")]
)
def test_an_attribute_that_would_break_the_line_cannot_be_made(name: str, value: str) -> None:
    with pytest.raises(LocalProtocolError):
        Attribute(name, value)


def test_a_line_break_in_attribute_text_is_a_parse_error() -> None:
    with pytest.raises(ParseError):
        Attribute.parse("a:b\nm=evil")


def test_the_four_setup_values_are_read_and_compare_as_text() -> None:
    for value in ("active", "passive", "actpass", "holdconn"):
        assert parse_setup(value) == value
    assert parse_setup(" ActPass ") is Setup.ACTPASS
    with pytest.raises(ParseError):
        parse_setup("both")


@pytest.mark.clause("TS 26.114 A.17.1")
def test_the_blank_before_the_tls_id_of_the_official_example_is_taken() -> None:
    assert parse_tls_id(" abc3de65cddef001be82") == "abc3de65cddef001be82"


@pytest.mark.clause("RFC 8842 4")
@pytest.mark.parametrize("value", ["", "a" * 19, "a" * 256, "a" * 20 + "=", "a" * 20 + "\n"])
def test_a_tls_id_of_a_wrong_length_or_alphabet_is_a_parse_error(value: str) -> None:
    with pytest.raises(ParseError):
        parse_tls_id(value)


@pytest.mark.parametrize("value", ["a" * 20, "Z+/_-9" * 4, "a" * 255])
def test_tls_ids_of_the_whole_alphabet_are_read(value: str) -> None:
    assert parse_tls_id(value) == value


@pytest.mark.clause("RFC 8842 4")
def test_our_tls_id_holds_128_bits_and_suits_the_pattern_of_ts_29571() -> None:
    tls_id = new_tls_id(lambda count: bytes(range(count)))
    assert tls_id == "000102030405060708090a0b0c0d0e0f"
    assert parse_tls_id(tls_id) == tls_id
    assert re.fullmatch(r"[0-9a-f+/_-]+", tls_id)


@pytest.mark.clause("RFC 8841 5.1")
def test_an_sctp_port_is_a_number_without_leading_zeros() -> None:
    assert [parse_sctp_port(text) for text in ("5000", "0", "65535", " 7")] == [5000, 0, 65535, 7]
    for text in ("", "05000", "65536", "-1", "x", "00", "5e3", "1000000"):
        with pytest.raises(ParseError):
            parse_sctp_port(text)


@pytest.mark.clause("RFC 8841 6.1")
def test_a_max_message_size_is_a_number_without_leading_zeros() -> None:
    assert parse_max_message_size("0") == 0
    assert parse_max_message_size("65536") == 65536
    assert parse_max_message_size("9" * 5000) == LARGEST_MESSAGE_SIZE
    for text in ("", "01", "-1", "64K", "\u0663"):
        with pytest.raises(ParseError):
            parse_max_message_size(text)


@given(text=st.text(max_size=300))
def test_any_text_is_a_value_or_a_parse_error(text: str) -> None:
    for parse in (
        Attribute.parse,
        parse_setup,
        parse_tls_id,
        parse_sctp_port,
        parse_max_message_size,
    ):
        try:
            value = parse(text)
        except ParseError:
            continue
        assert parse(str(value)) == value
