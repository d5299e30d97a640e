"""Data types that the interfaces share (TS 29.571 5.11), and their traps on the way to SDP."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dcsdk.emulator.sbi.json_object import JsonObject, without_none
from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.interfaces import Address
from dcsdk.sdp.attributes import Setup, parse_tls_id
from dcsdk.sdp.dcmap import MAX_STREAM_ID, NORMAL_PRIORITY, Dcmap
from dcsdk.sdp.fingerprint import Fingerprint

MAX_MESSAGE_SIZE_KIB = 64
_KIB = 1024
_MAX_UINT32 = 2**32 - 1


class Transport(Enum):
    """``Endpoint.transport``."""

    UDP = "UDP"
    TCP = "TCP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A transport address: ``ip``, ``transport`` and ``portNumber``."""

    address: Address
    transport: Transport

    @classmethod
    def from_json(cls, value: JsonObject) -> Endpoint:
        """Read an ``Endpoint``.

        Raises:
            ParseError: a member is missing or malformed.
        """
        ip = value.object("ip")
        text = ip.optional_text("ipv4Addr") or ip.optional_text("ipv6Addr")
        version = 4 if "ipv4Addr" in ip else 6
        try:
            address = ipaddress.ip_address(text or "")
        except ValueError as exc:
            raise ParseError("expected an IP address in Endpoint.ip") from exc
        if address.version != version or getattr(address, "scope_id", None):
            raise ParseError("expected an IP address of the version its member names")
        return cls(
            address=(str(address), value.integer("portNumber", 0, 65_535)),
            transport=value.choice("transport", Transport),
        )

    def to_json(self) -> dict[str, Any]:
        """Write an ``Endpoint``."""
        host, port = self.address
        member = "ipv6Addr" if ":" in host else "ipv4Addr"
        return {"ip": {member: host}, "transport": self.transport.value, "portNumber": port}


@dataclass(frozen=True, slots=True, kw_only=True)
class DcEndpoint:
    """One side's SCTP port, fingerprint and tls-id.

    Attributes:
        sctp_port: 0..65535.
        fingerprint: of its certificate.
        tls_id: or ``None``.
    """

    sctp_port: int
    fingerprint: Fingerprint
    tls_id: str | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> DcEndpoint:
        """Read a ``DcEndpoint``; the fingerprint's hash in either case.

        Raises:
            ParseError: a member is missing or malformed.
        """
        tls_id = value.optional_text("tlsId")
        return cls(
            sctp_port=value.integer("sctpPort", 0, 65_535),
            fingerprint=Fingerprint.parse(value.text("fingerprint")),
            tls_id=None if tls_id is None else parse_tls_id(tls_id),
        )

    def to_json(self) -> dict[str, Any]:
        """Write a ``DcEndpoint``: the pattern of ``fingerprint`` wants upper case throughout."""
        return without_none(
            {
                "sctpPort": self.sctp_port,
                "fingerprint": str(self.fingerprint).upper(),
                "tlsId": self.tls_id,
            }
        )


def stream_from_json(value: JsonObject) -> tuple[Dcmap, str | None]:
    """Read a ``DcStream``; returns the channel and its ``appBindingInfo``.

    An absent ``maxRetry`` or ``maxTime`` means a reliable channel: the schema's default of 0 is
    not read as "no retransmission". The pattern of ``subprotocol`` (20 hex digits) is an error of
    the schema and is not applied.

    Raises:
        ParseError: a member is missing or malformed.
    """
    is_ordered = value.optional_boolean("order")
    priority = value.optional_integer("priority", 0, 65_535)
    dcmap = Dcmap(
        stream_id=value.integer("streamId", 0, MAX_STREAM_ID),
        subprotocol=value.optional_text("subprotocol") or "",
        is_ordered=True if is_ordered is None else is_ordered,
        max_retr=value.optional_integer("maxRetry", 0, _MAX_UINT32),
        max_time_ms=value.optional_integer("maxTime", 0, _MAX_UINT32),
        priority=NORMAL_PRIORITY if priority is None else priority,
    )
    return dcmap, value.optional_text("appBindingInfo")


def stream_to_json(dcmap: Dcmap, app_binding: str | None = None) -> dict[str, Any]:
    """Write a ``DcStream``. A label has no member and is lost."""
    return without_none(
        {
            "streamId": dcmap.stream_id,
            "subprotocol": dcmap.subprotocol or None,
            "order": dcmap.is_ordered,
            "maxRetry": dcmap.max_retr,
            "maxTime": dcmap.max_time_ms,
            "priority": dcmap.priority,
            "appBindingInfo": app_binding,
        }
    )


def streams_from_json(value: JsonObject) -> tuple[tuple[Dcmap, ...], str | None]:
    """Read ``streams``: the channels by stream id, and the first ``appBindingInfo``.

    Raises:
        ParseError: a key that is not its stream's id.
    """
    dcmaps: list[Dcmap] = []
    bindings: list[str] = []
    for key, item in value.map("streams").items():
        dcmap, binding = stream_from_json(item)
        if key != str(dcmap.stream_id):
            raise ParseError(f"the key {key[:16]!r} of streams is not its streamId")
        dcmaps.append(dcmap)
        if binding is not None:
            bindings.append(binding)
    return tuple(dcmaps), bindings[0] if bindings else None


def streams_to_json(dcmaps: tuple[Dcmap, ...], app_binding: str | None = None) -> dict[str, Any]:
    """Write ``streams``."""
    return {str(dcmap.stream_id): stream_to_json(dcmap, app_binding) for dcmap in dcmaps}


def replace_urls_from_json(value: JsonObject, name: str) -> dict[int, str]:
    """Read a map of ``ReplaceHttpUrl`` as stream id to URL.

    Raises:
        ParseError: a key that is not its stream's id, or no URL.
    """
    urls: dict[int, str] = {}
    for key, item in value.map(name).items():
        stream_id = item.integer("streamId", 0, MAX_STREAM_ID)
        url = item.text("replaceHttpUrl")
        if key != str(stream_id) or not url.startswith(("http://", "https://")):
            raise ParseError(f"bad {name} entry for {key[:16]!r}")
        urls[stream_id] = url
    return urls


def replace_urls_to_json(urls: Mapping[int, str]) -> dict[str, Any] | None:
    """Write a map of ``ReplaceHttpUrl``; ``None`` when it is empty."""
    return {
        str(stream_id): {"streamId": stream_id, "replaceHttpUrl": url}
        for stream_id, url in urls.items()
    } or None


def size_to_kib(size_bytes: int) -> int:
    """Return SDP's ``max-message-size`` as ``maxMessageSize``.

    Args:
        size_bytes: 0 for any size.

    Raises:
        LocalProtocolError: less than 1 KiB, for which the schema has no number: 0 would be read
            as any size on the way back to SDP.
    """
    if 0 < size_bytes < _KIB:
        raise LocalProtocolError(f"max-message-size {size_bytes} cannot be told in KiB")
    return min(size_bytes // _KIB, MAX_MESSAGE_SIZE_KIB) or MAX_MESSAGE_SIZE_KIB


def size_from_json(value: JsonObject) -> int:
    """Read ``maxMessageSize`` (KiB, default 64) as bytes.

    Raises:
        ParseError: not 1..64; 0 is in the schema, but nobody can receive nothing.
    """
    kib = value.optional_integer("maxMessageSize", 1, MAX_MESSAGE_SIZE_KIB)
    return (MAX_MESSAGE_SIZE_KIB if kib is None else kib) * _KIB


def setup_from_json(value: JsonObject) -> Setup | None:
    """Read ``securitySetup``, ``None`` when absent.

    Raises:
        ParseError: not ``ACTIVE``, ``PASSIVE`` or ``ACTPASS``.
    """
    text = value.optional_text("securitySetup")
    if text is None:
        return None
    if text not in ("ACTIVE", "PASSIVE", "ACTPASS"):
        raise ParseError(f"unknown securitySetup {text[:16]!r}")
    return Setup(text.lower())


def setup_to_json(setup: Setup) -> str:
    """Write ``securitySetup``."""
    return setup.value.upper()
