"""Media feature tags in Contact, feature capabilities in ``Feature-Caps`` (RFC 3840, RFC 6809)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dcsdk.errors import LocalProtocolError, ParseError

APP_SUBTYPE: Final = "+sip.app-subtype"
"""Contact feature tag (RFC 5688)."""

APP_SUBTYPE_VALUE: Final = "webrtc-datachannel"
"""Its value for a DCMTSI client (TS 26.114 6.2.10.1)."""

DATACHANNEL: Final = "g.3gpp.datachannel"
"""Feature capability: the home network supports IMS data channels (TS 24.186 9.2)."""

DC_MUX: Final = "g.3gpp.dc-mux"
"""Bootstrap and application channels may share an association: tag and capability."""

MAX_FEATURES = 128
MAX_CHARACTERS = 16_384

_NAME = re.compile(r"[A-Za-z0-9!'.%*_~`\-]{1,128}")
_PART = re.compile(r'\s*\+?([^\s;,="<>]{1,128})\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^;,"]*))?', re.DOTALL)


def _normal(name: str) -> str:
    return name.strip().removeprefix("+").lower()


def _unquoted(value: str) -> str:
    text = value.strip()
    if len(text) >= 2 and text[0] == '"' and text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCaps:
    """What ``Feature-Caps`` of a response says.

    Attributes:
        features: (name in lower case without ``+``, value without quotes or ``None``).

    Source: RFC 6809 6.3; TS 24.186 9.2.
    """

    features: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def parse(cls, values: str | Iterable[str]) -> FeatureCaps:
        """Read header values tolerantly: the leading ``+`` and the value may be missing.

        Args:
            values: one value, or those of all lines, for example
                ``"*;+g.3gpp.datachannel;+g.3gpp.dc-mux"``.

        Raises:
            ParseError: no list of features, or over a limit.
        """
        lines = [values] if isinstance(values, str) else list(values)
        if sum(map(len, lines)) > MAX_CHARACTERS:
            raise ParseError("Feature-Caps is too long", source="RFC 6809 6.3")
        features: list[tuple[str, str | None]] = []
        for line in lines:
            position = 0
            while position < len(line):
                match = _PART.match(line, position)
                if match is not None:
                    position = match.end()
                    if match[1] != "*":
                        value = None if match[2] is None else _unquoted(match[2])
                        features.append((match[1].lower(), value))
                rest = line[position:].lstrip()
                if rest and rest[0] not in ";,":
                    raise ParseError("expected features in Feature-Caps", source="RFC 6809 6.3")
                position = len(line) - len(rest) + 1
                if len(features) > MAX_FEATURES:
                    raise ParseError("too many features in Feature-Caps", source="RFC 6809 6.3")
        return cls(features=tuple(features))

    def has(self, name: str) -> bool:
        """Tell whether a feature is there, named with or without ``+``."""
        return any(key == _normal(name) for key, _ in self.features)

    def get(self, name: str) -> str | None:
        """Return the value of a feature, ``None`` also when it has none."""
        return next((value for key, value in self.features if key == _normal(name)), None)

    def __str__(self) -> str:
        return ";".join(("*", *(format_feature(f"+{key}", value) for key, value in self.features)))


def format_feature(name: str, value: str | None = None) -> str:
    """Write one feature parameter, its value in quotes: ``+sip.app-subtype="..."``.

    Args:
        name: with its ``+`` where the tag has one.
        value: ``None`` for a tag without value.

    Raises:
        LocalProtocolError: the name is no token, or the value holds a line break or NUL.
    """
    if _NAME.fullmatch(name.removeprefix("+")) is None:
        raise LocalProtocolError(f"{name[:32]!r} is no feature tag", source="RFC 3840 9")
    if value is None:
        return name
    if re.search(r"[\r\n\0]", value):
        raise LocalProtocolError("a line break stands in a feature value", source="RFC 3840 9")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"'


def contact_features(*, data_channel: bool = True, dc_mux: bool = False) -> dict[str, str | None]:
    """Return the feature tags a DCMTSI client puts into Contact.

    Args:
        data_channel: the app-subtype tag. In INVITE and its responses only when the network has
            ``g.3gpp.datachannel`` (TS 23.228 AC); in REGISTER always allowed.
        dc_mux: we can put bootstrap and application channels into one association.

    Source: TS 26.114 6.2.10.1, TS 24.186 9.2.
    """
    features: dict[str, str | None] = {}
    if data_channel:
        features[APP_SUBTYPE] = APP_SUBTYPE_VALUE
    if dc_mux:
        features[f"+{DC_MUX}"] = None
    return features


def has_feature(
    parameters: Iterable[tuple[str, str | None]], name: str, value: str | None = None
) -> bool:
    """Tell whether Contact parameters hold a feature tag.

    Args:
        parameters: (name, value) pairs, values quoted or not.
        name: of the tag, with or without ``+``.
        value: one of the comma-separated values that must be there, or ``None`` for any.
    """
    for key, text in parameters:
        if _normal(key) != _normal(name):
            continue
        values = [part.strip().lower() for part in _unquoted(text or "").split(",")]
        if value is None or value.lower() in values:
            return True
    return False


def is_dcmtsi_contact(parameters: Iterable[tuple[str, str | None]]) -> bool:
    """Tell whether Contact parameters are those of a DCMTSI client (TS 33.328 N.3.2)."""
    return has_feature(parameters, APP_SUBTYPE, APP_SUBTYPE_VALUE)
