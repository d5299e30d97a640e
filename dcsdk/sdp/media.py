"""One media description of SDP: the ``m=`` line and everything under it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from dcsdk.errors import ParseError
from dcsdk.sdp.attributes import (
    DEFAULT_MAX_MESSAGE_SIZE,
    Attribute,
    Setup,
    parse_max_message_size,
    parse_sctp_port,
    parse_setup,
    parse_tls_id,
)
from dcsdk.sdp.dcmap import Dcmap, Dcsa
from dcsdk.sdp.fingerprint import MAX_FINGERPRINTS, Fingerprint
from dcsdk.sdp.ims_attributes import Indication, parse_indication
from dcsdk.sdp.lines import Bandwidth, Connection, Line, parse_number

DATA_CHANNEL_PROTOS = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP")
DATA_CHANNEL_FORMAT = "webrtc-datachannel"

_MEDIA = re.compile(r"(\S+)[ ]+([0-9]{1,5})(?:/([0-9]{1,5}))?[ ]+(\S+)((?:[ ]+\S+)+)[ ]*")


def _single(attributes: Iterable[Attribute], name: str) -> str | None:
    """Return the value of an attribute that may come once.

    Raises:
        ParseError: it comes twice with different values, or has no value.
    """
    values = {attribute.value for attribute in attributes if attribute.name == name}
    if not values:
        return None
    value = values.pop()
    if values or value is None:
        raise ParseError(f"a={name} has no value, or two different ones", source="RFC 8866 5.13")
    return value


class DescriptionAround(Protocol):
    """What a media description inherits from the session description that it stands in."""

    @property
    def connection(self) -> Connection | None:
        """``c=`` of the session."""

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The ``a=`` lines before the first ``m=`` line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaDescription:
    """An ``m=`` line and the lines under it, in their order.

    The lines are the truth: what is not understood stands among them and is written back. Typed
    views read them on each access; each raises :class:`ParseError` when its line is malformed.

    Attributes:
        media: ``"audio"``, ``"application"``, ...
        port: 0..65535; 0 in an answer refuses, in an offer ends the media (RFC 3264 6, 8.2).
        proto: for example ``"UDP/DTLS/SCTP"``.
        formats: the rest of the ``m=`` line, at least one.
        lines: everything after the ``m=`` line.
        port_count: the number after ``/``, or ``None``.

    Source: RFC 8866 5.14.
    """

    media: str
    port: int
    proto: str
    formats: tuple[str, ...]
    lines: tuple[Line, ...] = ()
    port_count: int | None = None

    @classmethod
    def create(
        cls,
        *,
        media: str,
        port: int,
        proto: str,
        formats: Iterable[str],
        connection: Connection | None = None,
        bandwidths: Iterable[Bandwidth] = (),
        attributes: Iterable[Attribute | tuple[str, str | None]] = (),
    ) -> MediaDescription:
        """Make a media description from values, in the order of RFC 8866 5."""
        lines = [Line("c", str(connection))] if connection is not None else []
        lines += [Line("b", str(bandwidth)) for bandwidth in bandwidths]
        media_description = cls(
            media=media, port=port, proto=proto, formats=tuple(formats), lines=tuple(lines)
        )
        return media_description.with_attributes(attributes)

    @classmethod
    def parse(cls, lines: Iterable[Line]) -> MediaDescription:
        """Read a media description.

        Args:
            lines: the ``m=`` line first.

        Raises:
            ParseError: the ``m=`` line, or a ``c=`` line under it, is malformed.
        """
        first, *rest = lines
        match = _MEDIA.fullmatch(first.value)
        if first.type != "m" or match is None:
            raise ParseError(
                "expected media, port, proto and formats in m=", source="RFC 8866 5.14"
            )
        media, port, count, proto, formats = match.groups()
        for line in rest:
            if line.type == "c":
                Connection.parse(line.value)
        return cls(
            media=media,
            port=parse_number(port, 65_535, what="port of m=", source="RFC 8866 5.14"),
            proto=proto,
            formats=tuple(formats.split()),
            lines=tuple(rest),
            port_count=None if count is None else int(count),
        )

    # --- what stands there ---------------------------------------------------------------------
    @property
    def connection(self) -> Connection | None:
        """The first ``c=`` line of this media description; see also ``address``."""
        value = next((line.value for line in self.lines if line.type == "c"), None)
        return None if value is None else Connection.parse(value)

    @property
    def bandwidths(self) -> tuple[Bandwidth, ...]:
        """The ``b=`` lines."""
        return tuple(Bandwidth.parse(line.value) for line in self.lines if line.type == "b")

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The ``a=`` lines."""
        return tuple(Attribute.parse(line.value) for line in self.lines if line.type == "a")

    def get(self, name: str) -> str | None:
        """Return the value of the first such attribute; ``None`` also for a property attribute."""
        return next((entry.value for entry in self.attributes if entry.name == name), None)

    def get_all(self, name: str) -> tuple[str, ...]:
        """Return the values of all such attributes that have one."""
        return tuple(
            entry.value
            for entry in self.attributes
            if entry.name == name and entry.value is not None
        )

    def has(self, name: str) -> bool:
        """Tell whether such an attribute is there, with a value or without."""
        return any(entry.name == name for entry in self.attributes)

    @property
    def is_rejected(self) -> bool:
        """The port is 0 (RFC 3264 6)."""
        return self.port == 0

    @property
    def is_data_channel(self) -> bool:
        """The line is one of data channels over UDP or TCP (RFC 8841 4, RFC 8864)."""
        return (
            self.media == "application"
            and self.proto.upper() in DATA_CHANNEL_PROTOS
            and self.formats[:1] == (DATA_CHANNEL_FORMAT,)
        )

    def address(self, session: DescriptionAround | None = None) -> tuple[str, int] | None:
        """Return the transport address of the media: ``c=`` here or of the session, and the port.

        Args:
            session: the description around, for its ``c=`` line.
        """
        connection = self.connection or (session.connection if session is not None else None)
        return None if connection is None else (connection.address, self.port)

    # --- typed views ---------------------------------------------------------------------------
    @property
    def setup(self) -> Setup | None:
        """``a=setup`` of this media description; see ``effective_setup``."""
        value = _single(self.attributes, "setup")
        return None if value is None else parse_setup(value)

    def effective_setup(self, session: DescriptionAround | None) -> Setup | None:
        """``a=setup`` here, else of the session (RFC 4145 4)."""
        if self.has("setup") or session is None:
            return self.setup
        value = _single(session.attributes, "setup")
        return None if value is None else parse_setup(value)

    @property
    def tls_id(self) -> str | None:
        """``a=tls-id``, without blanks around it."""
        value = _single(self.attributes, "tls-id")
        return None if value is None else parse_tls_id(value)

    def fingerprints(self, session: DescriptionAround | None = None) -> tuple[Fingerprint, ...]:
        """All ``a=fingerprint`` lines here, else of the session; media level wins (RFC 8122 5).

        Args:
            session: the description around.

        Raises:
            ParseError: a line is malformed, or there are more than ``MAX_FINGERPRINTS``.
        """
        attributes = self.attributes
        if session is not None and not self.has("fingerprint"):
            attributes = session.attributes
        values = [entry.value or "" for entry in attributes if entry.name == "fingerprint"]
        if len(values) > MAX_FINGERPRINTS:
            raise ParseError(
                f"more than {MAX_FINGERPRINTS} a=fingerprint lines", source="RFC 8122 5"
            )
        return tuple(Fingerprint.parse(value) for value in values)

    @property
    def sctp_port(self) -> int | None:
        """``a=sctp-port``, 0..65535, or ``None``, which makes a data channel line invalid."""
        value = _single(self.attributes, "sctp-port")
        return None if value is None else parse_sctp_port(value)

    @property
    def max_message_size(self) -> int:
        """``a=max-message-size`` in octets, 0 for any size, 65536 when absent (RFC 8841 6.1)."""
        value = _single(self.attributes, "max-message-size")
        return DEFAULT_MAX_MESSAGE_SIZE if value is None else parse_max_message_size(value)

    @property
    def dcmaps(self) -> tuple[Dcmap, ...]:
        """All ``a=dcmap`` lines; ``data_channel.check_offer`` tells good from bad ones."""
        return tuple(Dcmap.parse(value) for value in self.get_all("dcmap"))

    @property
    def dcsas(self) -> tuple[Dcsa, ...]:
        """All ``a=dcsa`` lines; none when no ``a=dcmap`` is there (RFC 8864 5.2)."""
        if not self.has("dcmap"):
            return ()
        return tuple(Dcsa.parse(value) for value in self.get_all("dcsa"))

    def indication(self, name: str) -> Indication | None:
        """Read ``a=3ge2ae`` or ``a=3ge2dce``: the first known value, unknown ones are ignored."""
        values = (parse_indication(value) for value in self.get_all(name))
        return next((value for value in values if value is not None), None)

    # --- changed copies ------------------------------------------------------------------------
    def with_attributes(
        self, attributes: Iterable[Attribute | tuple[str, str | None]]
    ) -> MediaDescription:
        """Return a copy with more ``a=`` lines at its end."""
        added = (
            entry if isinstance(entry, Attribute) else Attribute(*entry) for entry in attributes
        )
        return replace(self, lines=(*self.lines, *(Line("a", str(entry)) for entry in added)))

    def with_attribute(self, name: str, value: str | None = None) -> MediaDescription:
        """Return a copy with one more ``a=`` line at its end."""
        return self.with_attributes((Attribute(name, value),))

    def without(self, *names: str) -> MediaDescription:
        """Return a copy without any attribute of these names."""
        return replace(
            self,
            lines=tuple(
                line
                for line in self.lines
                if line.type != "a" or line.value.partition(":")[0] not in names
            ),
        )

    def replacing(self, name: str, value: str) -> MediaDescription:
        """Return a copy whose attribute has this value: in the old place, or at the end."""
        if not self.has(name):
            return self.with_attribute(name, value)
        lines: list[Line] = []
        is_written = False
        for line in self.lines:
            if line.type == "a" and line.value.partition(":")[0] == name:
                if not is_written:
                    lines.append(Line("a", str(Attribute(name, value))))
                is_written = True
            else:
                lines.append(line)
        return replace(self, lines=tuple(lines))

    def with_port(self, port: int) -> MediaDescription:
        """Return a copy with another port."""
        return replace(self, port=port)

    def with_connection(self, connection: Connection) -> MediaDescription:
        """Return a copy with this ``c=`` line and no other."""
        rest = tuple(line for line in self.lines if line.type != "c")
        at = next((i for i, line in enumerate(rest) if line.type != "i"), len(rest))
        return replace(self, lines=(*rest[:at], Line("c", str(connection)), *rest[at:]))

    def with_session_defaults(self, session: DescriptionAround) -> MediaDescription:
        """Return a copy that stands alone: ``c=``, ``a=setup`` and ``a=fingerprint`` of the session
        are written into it where it has none of its own (RFC 8866 5.7, RFC 4145 4, RFC 8122 5)."""
        media = self
        if media.connection is None and session.connection is not None:
            media = media.with_connection(session.connection)
        for name in ("setup", "fingerprint"):
            if not media.has(name):
                media = media.with_attributes(
                    entry for entry in session.attributes if entry.name == name
                )
        return media

    def rejected(self) -> MediaDescription:
        """Return the media description that refuses this one: port 0 and no lines (RFC 3264 6)."""
        return replace(self, port=0, port_count=None, lines=())

    def __str__(self) -> str:
        port = self.port if self.port_count is None else f"{self.port}/{self.port_count}"
        head = f"m={self.media} {port} {self.proto} {' '.join(self.formats)}\r\n"
        return head + "".join(f"{line}\r\n" for line in self.lines)
