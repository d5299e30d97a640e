"""Identification-tags of ``m=`` sections: ``a=mid`` read, and fresh ones for a dialog."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sdp.media import MediaDescription

MAX_MID_OCTETS = 255
"""A tag travels in an SDES item, whose length is one octet (RFC 9143 15.1)."""

MAX_MID_NUMBER = 999_999_999
"""The last tag that :class:`MidCounter` gives."""

_MID = re.compile(rf"[!#$%&'*+.^_`{{|}}~0-9A-Za-z-]{{1,{MAX_MID_OCTETS}}}")
_OURS = re.compile(r"0|[1-9][0-9]{0,8}")


def is_mid(text: str) -> bool:
    """Tell whether a text can be a tag: a token of 1 to ``MAX_MID_OCTETS`` octets (RFC 5888 4)."""
    return _MID.fullmatch(text) is not None


def read_mid(media: MediaDescription) -> str | None:
    """Return the tag of a section, ``None`` when it has none.

    Raises:
        ParseError: ``a=mid`` holds no token, or comes with two different ones.

    Source: RFC 5888 4.
    """
    values = {entry.value for entry in media.attributes if entry.name == "mid"}
    if not values:
        return None
    mid = values.pop()
    if values or mid is None or not is_mid(mid):
        raise ParseError("a=mid holds no token, or two different ones", source="RFC 5888 4")
    return mid


@dataclass(frozen=True, slots=True, kw_only=True)
class MidCounter:
    """Gives the tags of one dialog: decimal numbers, none twice, and none that the peer used.

    A number that the peer used is passed over together with all below it, so that nothing has to
    be remembered.

    Attributes:
        following: the next number.

    Source: RFC 9143 15.2 and 17: short, and without information about the user.
    """

    following: int = 0

    def fresh(self) -> tuple[str, MidCounter]:
        """Return a tag, and the counter to go on with.

        Raises:
            LocalProtocolError: ``MAX_MID_NUMBER`` is passed.
        """
        if self.following > MAX_MID_NUMBER:
            raise LocalProtocolError("no mid is left in this dialog", source="RFC 9143 15.2")
        return str(self.following), MidCounter(following=self.following + 1)

    def avoiding(self, mids: Iterable[str | None]) -> MidCounter:
        """Return a counter that gives none of these tags, such as ``BundleLayout.mids``."""
        numbers = [int(mid) for mid in mids if mid is not None and _OURS.fullmatch(mid)]
        return MidCounter(following=max((self.following, *(number + 1 for number in numbers))))
