from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError
from dcsdk.sip.syntax.headers import Headers, canonical_name, header_key
from tests.sip.strategies import extra_headers


@pytest.fixture
def headers() -> Headers:
    return Headers(
        [
            ("v", "SIP/2.0/UDP a, SIP/2.0/UDP b"),
            ("X-Other", "1"),
            ("VIA", "SIP/2.0/UDP c"),
            ("Route", '"x, y" <sip:p1;lr>,<sip:p2;lr>'),
        ]
    )


@pytest.mark.clause("RFC 3261 7.3.3")
def test_every_spelling_of_a_name_finds_the_header(headers: Headers) -> None:
    for name in ("Via", "via", "VIA", "v", "V"):
        assert headers.get(name) == "SIP/2.0/UDP a, SIP/2.0/UDP b"
        assert name in headers
    assert headers.get("x-OTHER") == "1"
    assert header_key("Referred-By") == header_key("b") == header_key("B") == "referred-by"
    assert canonical_name("cseq") == "CSeq"
    assert canonical_name("X-Mine") == "X-Mine"


def test_lines_and_elements(headers: Headers) -> None:
    assert headers.get_all("Via") == ["SIP/2.0/UDP a, SIP/2.0/UDP b", "SIP/2.0/UDP c"]
    assert headers.get_list("Via") == ["SIP/2.0/UDP a", "SIP/2.0/UDP b", "SIP/2.0/UDP c"]
    assert headers.get_list("Route") == ['"x, y" <sip:p1;lr>', "<sip:p2;lr>"]
    assert (headers.get("Contact"), headers.get_all("Contact"), headers.get_list("m")) == (
        None,
        [],
        [],
    )
    assert (headers.count("Via"), headers.count("To"), len(headers)) == (2, 0, 4)
    assert 5 not in headers  # type: ignore[comparison-overlap]


def test_set_replaces_all_lines_in_place_of_the_first(headers: Headers) -> None:
    headers.set("via", "SIP/2.0/UDP z")
    headers.set("To", "<sip:t>")
    assert [name for name, _ in headers] == ["Via", "X-Other", "Route", "To"]
    assert headers.get_all("v") == ["SIP/2.0/UDP z"]


def test_remove_and_add_and_prepend(headers: Headers) -> None:
    headers.remove("Via")
    headers.remove("Via")
    headers.prepend("Via", "new")
    headers.prepend("Route", "<sip:p0;lr>")
    headers.add("Route", "<sip:p9;lr>")
    assert list(headers) == [
        ("Via", "new"),
        ("X-Other", "1"),
        ("Route", "<sip:p0;lr>"),
        ("Route", '"x, y" <sip:p1;lr>,<sip:p2;lr>'),
        ("Route", "<sip:p9;lr>"),
    ]


def test_elements_are_popped_one_by_one(headers: Headers) -> None:
    popped = [headers.pop_first("Via") for _ in range(4)]
    assert popped == ["SIP/2.0/UDP a", "SIP/2.0/UDP b", "SIP/2.0/UDP c", None]
    assert "Via" not in headers


def test_empty_lines_are_passed_over_when_popping() -> None:
    headers = Headers([("Route", " , "), ("Route", "<sip:a>")])
    assert headers.pop_first("Route") == "<sip:a>"
    assert len(headers) == 0


def test_the_first_element_is_replaced_and_the_others_stay(headers: Headers) -> None:
    headers.replace_first("Via", "SIP/2.0/UDP a;received=192.0.2.1")
    assert headers.get_list("Via")[:2] == ["SIP/2.0/UDP a;received=192.0.2.1", "SIP/2.0/UDP b"]
    with pytest.raises(LocalProtocolError):
        headers.replace_first("Contact", "x")


def test_a_copy_changes_independently(headers: Headers) -> None:
    other = headers.copy()
    assert other == headers == Headers(list(headers))
    other.add("X", "1")
    assert other != headers
    assert headers != [("Via", "x")]
    assert "SIP/2.0" not in repr(headers)


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nb", "a\rb", "a\0"])
def test_a_line_break_in_a_value_is_refused(value: str, headers: Headers) -> None:
    before = headers.copy()
    for change in (headers.add, headers.set, headers.prepend, headers.replace_first):
        with pytest.raises(LocalProtocolError):
            change("Via", value)
    assert headers == before


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "ä"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        Headers([(name, "x")])


@given(extra_headers, st.sampled_from(["Via", "X", "Route"]))
def test_get_all_and_removal_agree(items: list[tuple[str, str]], name: str) -> None:
    headers = Headers([*items, (name, "last")])
    assert headers.get_all(name)[-1] == "last"
    headers.remove(name)
    assert headers.get(name) is None
