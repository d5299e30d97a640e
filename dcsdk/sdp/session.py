"""A session description: SDP read and written without loss (RFC 8866)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sdp.attributes import Attribute
from dcsdk.sdp.lines import (
    DEFAULT_LIMITS,
    Connection,
    Line,
    Origin,
    SdpLimits,
    encode,
    split_lines,
)
from dcsdk.sdp.media import MediaDescription

CONTENT_TYPE = "application/sdp"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription:
    """A whole SDP body.

    ``parse`` and ``encode`` give back the same octets for every canonical description: CRLF line
    ends, no empty line, single blanks in ``m=``. Lines that are not understood keep their place.

    Attributes:
        lines: the session-level lines in their order, ``v=`` first.
        media: the media descriptions in their order.
    """

    lines: tuple[Line, ...]
    media: tuple[MediaDescription, ...] = ()

    @classmethod
    def create(
        cls,
        *,
        origin: Origin,
        name: str = "-",
        connection: Connection | None = None,
        attributes: Iterable[Attribute | tuple[str, str | None]] = (),
        media: Iterable[MediaDescription] = (),
    ) -> SessionDescription:
        """Make a description from values, in the order of RFC 8866 5, with ``t=0 0``."""
        lines = [Line("v", "0"), Line("o", str(origin)), Line("s", name)]
        if connection is not None:
            lines.append(Line("c", str(connection)))
        lines.append(Line("t", "0 0"))
        for entry in attributes:
            attribute = entry if isinstance(entry, Attribute) else Attribute(*entry)
            lines.append(Line("a", str(attribute)))
        return cls(lines=tuple(lines), media=tuple(media))

    @classmethod
    def parse(cls, data: bytes | str, limits: SdpLimits = DEFAULT_LIMITS) -> SessionDescription:
        """Read a description; line ends may be CRLF or LF.

        Args:
            data: the body.
            limits: sizes and counts refused above.

        Raises:
            ParseError: a line that is none; ``v=0``, ``o=``, ``s=`` or ``t=`` missing or twice;
                a malformed ``o=``, ``c=`` or ``m=``; over a limit.
        """
        octets = encode(data) if isinstance(data, str) else data
        lines = split_lines(octets, limits)
        starts = [index for index, line in enumerate(lines) if line.type == "m"]
        if len(starts) > limits.max_media:
            raise ParseError(f"more than {limits.max_media} m= lines", source="RFC 8866 5.14")
        head = lines[: starts[0]] if starts else lines
        _check_head(head)
        ends = [*starts[1:], len(lines)]
        return cls(
            lines=tuple(head),
            media=tuple(
                MediaDescription.parse(lines[start:end])
                for start, end in zip(starts, ends, strict=False)
            ),
        )

    # --- what stands there ---------------------------------------------------------------------
    def _first(self, line_type: str) -> str | None:
        return next((line.value for line in self.lines if line.type == line_type), None)

    @property
    def origin(self) -> Origin:
        """The ``o=`` line."""
        return Origin.parse(self._first("o") or "")

    @property
    def name(self) -> str:
        """The ``s=`` line."""
        return self._first("s") or ""

    @property
    def connection(self) -> Connection | None:
        """The ``c=`` line of the session, which holds where a media description has none."""
        value = self._first("c")
        return None if value is None else Connection.parse(value)

    @property
    def times(self) -> tuple[str, ...]:
        """The ``t=`` lines as they stand; sessions of SIP have ``0 0`` (RFC 3264 5)."""
        return tuple(line.value for line in self.lines if line.type == "t")

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The session-level ``a=`` lines."""
        return tuple(Attribute.parse(line.value) for line in self.lines if line.type == "a")

    def get(self, name: str) -> str | None:
        """Return the value of the first such session-level attribute."""
        return next((entry.value for entry in self.attributes if entry.name == name), None)

    def has(self, name: str) -> bool:
        """Tell whether such a session-level attribute is there."""
        return any(entry.name == name for entry in self.attributes)

    # --- changed copies ------------------------------------------------------------------------
    def replace_media(self, index: int, media: MediaDescription) -> SessionDescription:
        """Return a copy with another media description in one place.

        Args:
            index: 0-based.
            media: what stands there then.

        Raises:
            LocalProtocolError: there is no such place; lines never vanish (RFC 3264 8).
        """
        if not 0 <= index < len(self.media):
            raise LocalProtocolError(f"there is no m= line {index}", source="RFC 3264 8")
        return replace(self, media=(*self.media[:index], media, *self.media[index + 1 :]))

    def with_media(self, *media: MediaDescription) -> SessionDescription:
        """Return a copy with more media descriptions at its end (RFC 3264 8.1)."""
        return replace(self, media=(*self.media, *media))

    def with_origin(self, origin: Origin) -> SessionDescription:
        """Return a copy with another ``o=`` line."""
        return replace(
            self,
            lines=tuple(
                Line("o", str(origin)) if line.type == "o" else line for line in self.lines
            ),
        )

    def encode(self) -> bytes:
        """Write the description, every line ended by CRLF.

        Raises:
            LocalProtocolError: a value put in locally holds a line break or NUL.
        """
        text = str(self)
        count = len(self.lines) + sum(1 + len(media.lines) for media in self.media)
        if text.count("\n") != count or text.count("\r") != count or "\0" in text:
            raise LocalProtocolError("a line break stands in an SDP value", source="RFC 8866 5")
        return encode(text)

    def __str__(self) -> str:
        head = "".join(f"{line}\r\n" for line in self.lines)
        return head + "".join(str(media) for media in self.media)


def _check_head(lines: list[Line]) -> None:
    types = [line.type for line in lines]
    if lines[:1] != [Line("v", "0")]:
        raise ParseError("SDP does not begin with v=0", source="RFC 8866 5.1")
    for line_type in "vos":
        if types.count(line_type) != 1:
            raise ParseError(f"expected one {line_type}= line", source="RFC 8866 5")
    if "t" not in types:
        raise ParseError("SDP has no t= line", source="RFC 8866 5.9")
    for line in lines:
        if line.type == "o":
            Origin.parse(line.value)
        elif line.type == "c":
            Connection.parse(line.value)
