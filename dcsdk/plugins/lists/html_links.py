"""The links of an HTML page, read once from its beginning to its end.

``html.parser`` of the standard library looks at the rest of a page again for each construct that is
not finished in it: quadratic time, which a hostile server could ask for. Here every pattern begins
where the one before ended, and one that finds no end ends the page; so each character is looked at
a fixed number of times, whatever the page holds.

Source: HTML Living Standard 13.2.5 (tokenization), as far as links need it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape

from dcsdk.errors import ParseError

MAX_LINKS = 1000
MAX_TEXT_LENGTH = 2048
"""Characters of an attribute, beyond which it is left out, and of a link's text, cut there."""

WANTED = frozenset({"href", "data-app-id", "data-phase", "data-etag", "data-icon"})
"""Attributes that are read."""

# None of these can match one text in two ways, so none ever goes back.
_FLAGS = re.ASCII | re.IGNORECASE
_MARKUP = re.compile(r"<(?:(/?)([a-z][^\s/>]*)[\s/]*|!--|[!?/])", _FLAGS)
# One attribute: a name, its value in one of three spellings, and what lies before the next.
_ATTRIBUTE = re.compile(
    r"""([^>][^\s/>=]*)\s*(?:=\s*(?:"([^"]*)(?:"|\Z)|'([^']*)(?:'|\Z)|([^\s>]*)))?[\s/]*""", _FLAGS
)
_TAG_END = re.compile(">")
_COMMENT_END = re.compile("--!?>")
# Elements whose content is text and no markup.
_RAW_END = {
    name: re.compile(rf"</{name}(?=[\s/>])", _FLAGS)
    for name in ("script", "style", "textarea", "title")
}


@dataclass(slots=True)
class Link:
    """One ``<a>``.

    Attributes:
        attributes: those of ``WANTED`` that are there; the first of several counts.
        text: between its tags, white space joined.
    """

    attributes: dict[str, str]
    text: str = ""


def read_links(page: str) -> list[Link]:
    """Return the links of a page that have an ``href``, in order.

    Any text is a page; what is not finished at its end is left out.

    Raises:
        ParseError: more than ``MAX_LINKS`` of them.
    """
    reader = _Reader(page)
    position: int | None = 0
    while position is not None:
        position = reader.step(position)
    reader.end_link()
    return reader.links


class _Reader:
    """Goes through a page; each step takes the text up to some markup, and that markup."""

    def __init__(self, page: str) -> None:
        self.links: list[Link] = []
        self._page = page
        self._open: Link | None = None
        self._text: list[str] = []
        self._room = MAX_TEXT_LENGTH

    def step(self, position: int) -> int | None:
        """Take what comes next; return where the step after begins, ``None`` at the end."""
        page = self._page
        markup = _MARKUP.search(page, position)
        self._take_text(position, len(page) if markup is None else markup.start())
        if markup is None:
            return None
        slash, name = markup.groups()
        if name is None:
            if markup.group() == "<!--":
                # "<!-->" is a whole comment: its end may begin in the middle of its beginning.
                end = _COMMENT_END.search(page, markup.end() - 2)
            else:
                end = _TAG_END.search(page, markup.end())
        elif slash:
            if name.lower() == "a":
                self.end_link()
            end = _TAG_END.search(page, markup.end())
        else:
            return self._take_tag(name.lower(), markup.end())
        return None if end is None else end.end()

    def end_link(self) -> None:
        """A link ends, by its end tag, because the next one begins, or with the page."""
        if self._open is not None and "href" in self._open.attributes:
            if len(self.links) >= MAX_LINKS:
                raise ParseError(f"more than {MAX_LINKS} links in the application list")
            self._open.text = " ".join(unescape("".join(self._text)).split())
            self.links.append(self._open)
        self._open, self._text, self._room = None, [], MAX_TEXT_LENGTH

    def _take_text(self, start: int, stop: int) -> None:
        if self._open is not None and self._room > 0:
            text = self._page[start : min(stop, start + self._room)]
            self._text.append(text)
            self._room -= len(text)

    def _take_tag(self, name: str, position: int) -> int | None:
        """Read the attributes of a start tag, and what no markup can be in."""
        page, attributes = self._page, dict[str, str]()
        while (attribute := _ATTRIBUTE.match(page, position)) is not None:
            position = attribute.end()
            key = attribute[1].lower()
            if name == "a" and key in WANTED and key not in attributes:
                value = attribute[2] or attribute[3] or attribute[4] or ""
                if len(value) <= MAX_TEXT_LENGTH:
                    attributes[key] = unescape(value)
        if position >= len(page):
            return None  # the tag was not finished
        if name == "a":
            self.end_link()
            self._open = Link(attributes)
        if (raw_end := _RAW_END.get(name)) is not None:
            end = raw_end.search(page, position + 1)
            return None if end is None else end.start()
        return position + 1
