"""SDP attributes of 3GPP: security indications, who uses a bootstrap line, which application."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from dcsdk.errors import LocalProtocolError, ParseError

E2AE_ATTRIBUTE: Final = "3ge2ae"
"""TS 24.229 7.5.2."""

E2DCE_ATTRIBUTE: Final = "3ge2dce"
"""Not standardised: see ``ImsProfile.e2dce_attribute``."""

BDC_USED_BY_ATTRIBUTE: Final = "3gpp-bdc-used-by"
"""TS 24.186 9.3.3.2.1."""

REQ_APP_ATTRIBUTE: Final = "3gpp-req-app"
"""TS 24.186 9.3.2.2.2."""

REQ_APP_TEMPLATE = "{app_id}{endpoints}"
REQ_APP_ENDPOINT_TEMPLATE = ";adc-stream-id-endpoint={stream_id}:{endpoint}"
REQ_APP_PATTERN = r"\s*([^;\s]+)"

Indication = Literal["requested", "applied"]
BdcUser = Literal["sender", "receiver"]
AppEndpoint = Literal["UE", "Server"]

_MAX_APP_ID = 255
_MAX_QOS_PROPERTIES = 16


def parse_indication(value: str | None) -> Indication | None:
    """Read the value of ``a=3ge2ae`` (and ``a=3ge2dce``); any other token is ignored: ``None``.

    Source: TS 24.229 7.5.2.
    """
    match (value or "").strip(" ").lower():
        case "requested":
            return "requested"
        case "applied":
            return "applied"
    return None


def parse_bdc_used_by(value: str) -> BdcUser:
    """Read the text after ``a=3gpp-bdc-used-by:``, in both spellings that are around.

    Args:
        value: ``"sender"`` or ``"bdc-used-by=sender"``; likewise ``receiver``.

    Raises:
        ParseError: neither sender nor receiver.
    """
    match value.strip(" ").lower().removeprefix("bdc-used-by=").strip(' "'):
        case "sender":
            return "sender"
        case "receiver":
            return "receiver"
    raise ParseError(
        f"expected sender or receiver in a=3gpp-bdc-used-by, got {value[:16]!r}",
        source="TS 24.186 9.3.3.2.1",
    )


def format_bdc_used_by(user: BdcUser, template: str = "{user}") -> str:
    """Write the value of ``a=3gpp-bdc-used-by``.

    Args:
        user: who uses the remote bootstrap line.
        template: how it is spelt; ``ImsProfile.bdc_used_by_template``.
    """
    return template.format(user=user)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReqApp:
    """The application binding information of ``a=3gpp-req-app``.

    Opaque to us, as it is to the DCSF: nothing is decided on it but equality and the look-up of
    the application id.

    Attributes:
        raw: the text after the colon, written back as it came.
        app_id: what the pattern found, or ``None``.

    Source: TS 24.186 9.3.2.2.2; TS 29.571 ``DcStream.appBindingInfo``.
    """

    raw: str
    app_id: str | None


def parse_req_app(value: str, pattern: str = REQ_APP_PATTERN) -> ReqApp:
    """Read the text after ``a=3gpp-req-app:``. Any text is legal.

    Args:
        value: the text.
        pattern: a regular expression, matched at the start, whose first group is the id.
    """
    match = re.match(pattern, value)
    return ReqApp(raw=value, app_id=match[1] if match else None)


def format_req_app(
    app_id: str,
    endpoints: Mapping[int, AppEndpoint] | None = None,
    *,
    template: str = REQ_APP_TEMPLATE,
    endpoint_template: str = REQ_APP_ENDPOINT_TEMPLATE,
    pattern: str = REQ_APP_PATTERN,
) -> ReqApp:
    """Write the value of ``a=3gpp-req-app``.

    Args:
        app_id: of the application, 1..255 characters.
        endpoints: per stream id, whether the far end is the other UE or a server.
        template: the whole value; ``{app_id}`` and ``{endpoints}`` are filled in.
        endpoint_template: one end point; ``{stream_id}`` and ``{endpoint}`` are filled in.
        pattern: how the id will be read back.

    Raises:
        LocalProtocolError: the id is too long, or would not be read back as it is.
    """
    written = "".join(
        endpoint_template.format(stream_id=stream_id, endpoint=endpoint)
        for stream_id, endpoint in (endpoints or {}).items()
    )
    req_app = parse_req_app(template.format(app_id=app_id, endpoints=written), pattern)
    if req_app.app_id != app_id or len(app_id) > _MAX_APP_ID or not app_id.isprintable():
        raise LocalProtocolError(
            f"the application id {app_id[:32]!r} cannot stand in a=3gpp-req-app",
            source="TS 24.186 9.3.2.2.2",
        )
    return req_app


@dataclass(frozen=True, slots=True, kw_only=True)
class QosProperty:
    """One property of ``a=3gpp-qos-hint``, its numbers as they were written.

    Attributes:
        name: ``"loss"`` (a fraction), ``"latency"`` (ms), or an unknown one, which is kept.
        value: end to end.
        local: the share of the local access network, or ``None``.
    """

    name: str
    value: str
    local: str | None = None

    def __str__(self) -> str:
        local = "" if self.local is None else f"/local:{self.local}"
        return f"{self.name}={self.value}{local}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QosHint:
    """The value of ``a=3gpp-qos-hint``.

    Source: TS 26.114 6.2.7.4; the grammar is inferred from the examples of TS 26.114 A.16.
    """

    properties: tuple[QosProperty, ...]

    @classmethod
    def parse(cls, value: str) -> QosHint:
        """Read the text after the colon, a blank before it included.

        Args:
            value: for example ``"loss=0.00002/local:0.000005;latency=600/local:400"``.

        Raises:
            ParseError: no property, too many, or one that is not ``name=value``.
        """
        parts = value.strip(" ").split(";")
        if len(parts) > _MAX_QOS_PROPERTIES:
            raise ParseError("too many properties in a=3gpp-qos-hint", source="TS 26.114 6.2.7.4")
        properties = []
        for part in parts:
            name, _, text = part.strip(" ").partition("=")
            number, slash, local = text.partition("/local:")
            if not name or not number or (slash and not local):
                raise ParseError(
                    f"expected name=value in a=3gpp-qos-hint, got {part[:32]!r}",
                    source="TS 26.114 6.2.7.4",
                )
            properties.append(QosProperty(name=name, value=number, local=local if slash else None))
        return cls(properties=tuple(properties))

    def get(self, name: str) -> QosProperty | None:
        """Return the first property of that name."""
        return next((entry for entry in self.properties if entry.name == name), None)

    def __str__(self) -> str:
        return ";".join(str(entry) for entry in self.properties)
