from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sip.syntax import grammar
from tests.sip.strategies import line_text, parameters


@given(line_text)
def test_quoting_is_undone_by_unquoting(text: str) -> None:
    assert grammar.unquote(grammar.quote(text)) == text


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\0b", "\x7f"])
def test_a_control_character_is_not_quoted(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        grammar.quote(text)


@pytest.mark.parametrize("text", ['"', '"a', '"a"b', '"\\"', '"a\\\x01"'])
def test_a_bad_quoted_string_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        grammar.unquote(text)


@given(parameters())
def test_parameters_round_trip(found: grammar.Parameters) -> None:
    assert grammar.parse_parameters(grammar.format_parameters(found)) == found


@given(st.text())
def test_any_text_gives_parameters_or_a_parse_error(text: str) -> None:
    with contextlib.suppress(ParseError):
        grammar.parse_parameters(text)


@given(st.text())
def test_any_text_can_be_split(text: str) -> None:
    assert all(grammar.split_list(text))


def test_commas_in_quotes_and_brackets_do_not_split() -> None:
    text = r'"a, \" b" <sip:x,y@h>;p="1,2" , <sip:b@h>,, c'
    assert grammar.split_list(text) == [r'"a, \" b" <sip:x,y@h>;p="1,2"', "<sip:b@h>", "c"]


def test_backslashes_outside_quotes_escape_nothing() -> None:
    assert grammar.split_list("a\\,b") == ["a\\", "b"]


@pytest.mark.clause("RFC 3261 7.3.1")
def test_a_parameter_twice_is_refused() -> None:
    with pytest.raises(ParseError):
        grammar.parse_parameters(";tag=1;Tag=2")


def test_the_number_of_parameters_is_bounded() -> None:
    text = "".join(f";p{i}" for i in range(grammar.MAX_PARAMETERS))
    assert len(grammar.parse_parameters(text)) == grammar.MAX_PARAMETERS
    with pytest.raises(ParseError):
        grammar.parse_parameters(text + ";one-more")


def test_parameters_are_set_in_place_added_and_removed() -> None:
    found = grammar.parse_parameters(";a=1;b")
    assert grammar.set_parameter(found, "A", "2") == (("a", "2"), ("b", None))
    assert grammar.set_parameter(found, "c", "x y")[-1] == ("c", '"x y"')
    assert grammar.set_parameter(found, "c", '"q"')[-1] == ("c", '"q"')
    assert grammar.remove_parameter(found, "B") == (("a", "1"),)
    with pytest.raises(LocalProtocolError):
        grammar.set_parameter(found, "bad name", None)


@pytest.mark.parametrize("text", ["", "[::1", "::1]", "[::g]", "[fe80::1%1]", "a b", "a" * 256])
def test_a_bad_host_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        grammar.parse_host(text)


def test_spellings_of_one_host_compare_equal() -> None:
    assert grammar.canonical_host("2001:DB8:0::1") == grammar.canonical_host("2001:db8::1")
    assert grammar.canonical_host("Example.COM") == "example.com"
    assert grammar.canonical_host("no:address") == "no:address"


def test_a_port_over_65535_is_refused() -> None:
    assert grammar.parse_port(None) is None
    assert grammar.parse_port("65535") == 65_535
    with pytest.raises(ParseError):
        grammar.parse_port("65536")
