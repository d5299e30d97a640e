"""Links of HTML pages: what is found, and that any page is read in linear time."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import ParseError
from dcsdk.plugins.lists import html_links
from dcsdk.plugins.lists.html_links import MAX_LINKS, MAX_TEXT_LENGTH, Link, read_links


@pytest.mark.parametrize(
    ("page", "links"),
    [
        ('<a href="x">y</a>', [("x", "y")]),
        ("<A HREF='x'>y</A>", [("x", "y")]),
        ("<a\nhref = x/>y</a >z", [("x/", "y")]),
        ("<a href=x>one<a href=y>two", [("x", "one"), ("y", "two")]),
        ("<a href='1>2' title=\">\">a<b> b\n </b>c</a>", [("1>2", "a b c")]),
        ("<a href=x&amp;y>1 &lt; 2 < 3</a>", [("x&y", "1 < 2 < 3")]),
        ("<a href=x href=y>first counts</a>", [("x", "first counts")]),
        ("<a href>empty</a><a name=x>none</a>", [("", "empty")]),
        ('<p title="<a href=x>">text</p>', []),
        ("<!-- <a href=x>y</a> --><a href=z>w", [("z", "w")]),
        ("<!--><a href=x>y</a>", [("x", "y")]),
        ("<!---><a href=x>y</a>", [("x", "y")]),
        ("<!-- --!><a href=x>y</a>", [("x", "y")]),
        ("<!doctype html><?pi <a href=x>?></><a href=z>w</a>", [("z", "w")]),
        ("<script>'<a href=x>'</SCRIPT ><a href=y>z</a>", [("y", "z")]),
        ("<title></titles><a href=x></title><a href=y>z</a>", [("y", "z")]),
        ("<a href=x>text <!-- unfinished", [("x", "text")]),
        ("<a href=x>text <b unfinished", [("x", "text")]),
        ("<a href=x>text</a unfinished", [("x", "text")]),
        ("<a href=x>text<script>unfinished", [("x", "text")]),
        ('<a href="unfinished', []),
        ("<a href='unfinished", []),
        ("<a href=unfinished", []),
        ("<a href=x>&#" + "9" * 2000 + "</a>", [("x", "\ufffd")]),
        (f"<a href={'x' * MAX_TEXT_LENGTH}x>y</a>", []),
        (f"<a href=x>{'y' * MAX_TEXT_LENGTH}z<b>z</a>", [("x", "y" * MAX_TEXT_LENGTH)]),
    ],
)
def test_links_are_read_as_a_browser_reads_them(page: str, links: list[tuple[str, str]]) -> None:
    assert [(link.attributes["href"], link.text) for link in read_links(page)] == links


def test_links_are_bounded_in_number() -> None:
    assert len(read_links("<a href=x>" * MAX_LINKS)) == MAX_LINKS
    with pytest.raises(ParseError):
        read_links("<a href=x>" * (MAX_LINKS + 1))


# --- the same as the general reader on pages without faults ---------------------------------------
class _Reference(HTMLParser):
    """What ``html.parser`` finds, slowly."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[Link] = []
        self._open: Link | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._open = Link({k: v or "" for k, v in attrs if k in html_links.WANTED})
            if "href" in self._open.attributes:
                self.links.append(self._open)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open.text = f"{self._open.text}{data}"


_WORDS = st.text("ab c&;=/\n\u00e9", max_size=8)
_ATTRIBUTES = st.dictionaries(
    st.sampled_from(sorted(html_links.WANTED | {"class", "x"})), _WORDS, max_size=3
).map(lambda pairs: "".join(f' {name}="{value}"' for name, value in pairs.items()))
_PIECES = st.one_of(
    _WORDS,
    st.builds("<a{}>{}</a>".format, _ATTRIBUTES, _WORDS),
    st.builds("<p{}>{}</p>".format, _ATTRIBUTES, _WORDS),
    st.builds("<br{}/>".format, _ATTRIBUTES),
    st.builds("<!-- {} <a href=x> -->".format, _WORDS),
    st.just("<script>'<a href=x>'</script>"),
    st.just("<!doctype html>"),
)


@given(st.lists(_PIECES, max_size=12).map("".join))
def test_a_page_without_faults_is_read_as_the_standard_library_does(page: str) -> None:
    reference = _Reference()
    reference.feed(page)
    reference.close()
    for link in reference.links:
        link.text = " ".join(link.text.split())
    assert read_links(page) == reference.links


# --- linear, whatever the page holds --------------------------------------------------------------
class _Counting:
    """A pattern that counts the characters it looks at: all to the end where it finds nothing."""

    def __init__(self, pattern: re.Pattern[str], counts: list[int]) -> None:
        self._pattern = pattern
        self._counts = counts

    def _count(self, found: re.Match[str] | None, page: str, position: int) -> Any:
        self._counts.append((len(page) if found is None else found.end()) - position + 1)
        return found

    def search(self, page: str, position: int) -> Any:
        return self._count(self._pattern.search(page, position), page, position)

    def match(self, page: str, position: int) -> Any:
        found = self._pattern.match(page, position)
        if found is None:  # fails at its first character, or the page is over
            assert page[position : position + 1] in ("", ">")
            self._counts.append(1)
            return None
        return self._count(found, page, position)


def looked_at(page: str) -> int:
    """Return how many characters all patterns together look at."""
    counts: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_MARKUP", "_ATTRIBUTE", "_TAG_END", "_COMMENT_END"):
            patch.setattr(html_links, name, _Counting(getattr(html_links, name), counts))
        ends = {name: _Counting(end, counts) for name, end in html_links._RAW_END.items()}
        patch.setattr(html_links, "_RAW_END", ends)
        read_links(page)
    return sum(counts)


HOSTILE = [
    *(
        "<a ",
        "<a/",
        "<a",
        "<!--",
        "<!--->",
        "<!",
        "<![",
        "<![CDATA[",
        "<?",
        "</",
        "</a",
        "</a ",
        "<",
    ),
    *(
        '<a x="',
        "<a x='",
        "<a =",
        "<a x= ",
        "<script",
        "</script",
        "<script>",
        "<title>",
        "&#",
        "&",
    ),
    *("<textarea></textarea", "<a>", "<!DOCTYPE ", "<a\n\n", '"', "'", "<b ", "-->", "--!", "<a b"),
]


@pytest.mark.parametrize(
    "beginning", ["", "<a ", "<a href=x>", "<script>", "<!--", '<a x="', "<a x='"]
)
@pytest.mark.parametrize("unit", HOSTILE)
def test_twice_the_page_is_twice_the_work(beginning: str, unit: str) -> None:
    once = looked_at(beginning + unit * 300)
    twice = looked_at(beginning + unit * 600)
    assert twice <= 2 * once + 10
    assert twice <= 3 * len(beginning + unit * 600)


@given(
    st.lists(st.sampled_from([*HOSTILE, " ", ">", "/", "=", "x", "a"]), max_size=60).map("".join)
)
def test_no_page_is_looked_at_more_than_three_times(page: str) -> None:
    assert looked_at(page) <= 3 * len(page) + 1
