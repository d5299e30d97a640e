"""``Nmf_MRM``: the IMS AS asks the MF for media resources (TS 29.176)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from dcsdk.emulator.sbi.common import (
    DcEndpoint,
    Endpoint,
    replace_urls_from_json,
    replace_urls_to_json,
    setup_from_json,
    setup_to_json,
    size_from_json,
    size_to_kib,
    streams_from_json,
    streams_to_json,
)
from dcsdk.emulator.sbi.json_object import JsonObject, without_none
from dcsdk.sdp.attributes import DEFAULT_MAX_MESSAGE_SIZE, Setup
from dcsdk.sdp.dcmap import Dcmap

MRM_PATH = "/nmf-mrm/v1"


class MediaResourceType(Enum):
    """What a media is."""

    DC = "DC"
    AR = "AR"
    AUDIO = "AUDIO"
    VIDEO = "VIDEO"


class MediaProxy(Enum):
    """``mediaProxyConfig``: where the MF ends a data channel (TS 33.328 N.3.1)."""

    HTTP = "HTTP"
    UDP = "UDP"


@dataclass(frozen=True, slots=True, kw_only=True)
class DcMedia:
    """``DcMedia``: one data channel line as the MF sees it; *local* is the MF, *remote* the UE.

    Attributes:
        media_proxy_config: ``HTTP`` ends DTLS in the MF.
        replace_http_urls: stream id to the URL that takes the place of ``/``.
        local_mdc1_endpoint: the MF's side of MDC1.
        remote_mdc1_endpoint: the DCSF's.
        streams: the channels.
        app_binding: ``appBindingInfo`` of the streams.
        max_message_size: bytes, of the side that wrote the object.
        local_dc_endpoint: the MF's SCTP port, fingerprint and tls-id.
        remote_dc_endpoint: the UE's; its certificate must match.
        security_setup: of the side that wrote the object.
    """

    media_proxy_config: MediaProxy | None = None
    replace_http_urls: Mapping[int, str] = field(default_factory=dict)
    local_mdc1_endpoint: Endpoint | None = None
    remote_mdc1_endpoint: Endpoint | None = None
    streams: tuple[Dcmap, ...] = ()
    app_binding: str | None = None
    max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE
    local_dc_endpoint: DcEndpoint | None = None
    remote_dc_endpoint: DcEndpoint | None = None
    security_setup: Setup | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> DcMedia:
        """Read a ``DcMedia``.

        Raises:
            ParseError: a member is malformed.
        """
        streams, app_binding = streams_from_json(value)
        return cls(
            media_proxy_config=value.optional_choice("mediaProxyConfig", MediaProxy),
            replace_http_urls=replace_urls_from_json(value, "replaceHttpUrl"),
            local_mdc1_endpoint=_endpoint(value, "localMdc1Endpoint"),
            remote_mdc1_endpoint=_endpoint(value, "remoteMdc1Endpoint"),
            streams=streams,
            app_binding=app_binding,
            max_message_size=size_from_json(value),
            local_dc_endpoint=_dc_endpoint(value, "localDcEndpoint"),
            remote_dc_endpoint=_dc_endpoint(value, "remoteDcEndpoint"),
            security_setup=setup_from_json(value),
        )

    def to_json(self) -> dict[str, Any]:
        """Write a ``DcMedia``."""
        return without_none(
            {
                "mediaProxyConfig": self.media_proxy_config and self.media_proxy_config.value,
                "replaceHttpUrl": replace_urls_to_json(self.replace_http_urls),
                "localMdc1Endpoint": _to_json(self.local_mdc1_endpoint),
                "remoteMdc1Endpoint": _to_json(self.remote_mdc1_endpoint),
                "streams": streams_to_json(self.streams, self.app_binding),
                "maxMessageSize": size_to_kib(self.max_message_size),
                "localDcEndpoint": _to_json(self.local_dc_endpoint),
                "remoteDcEndpoint": _to_json(self.remote_dc_endpoint),
                "securitySetup": self.security_setup and setup_to_json(self.security_setup),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """``MediaInfo``: one media of a termination."""

    media_id: str
    media_resource_type: MediaResourceType = MediaResourceType.DC
    local_mb_endpoint: Endpoint | None = None
    remote_mb_endpoint: Endpoint | None = None
    dc_media: DcMedia | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> MediaInfo:
        """Read a ``MediaInfo``.

        Raises:
            ParseError: a member is missing or malformed.
        """
        dc_media = value.optional_object("dcMedia")
        return cls(
            media_id=value.text("mediaId"),
            media_resource_type=value.choice("mediaResourceType", MediaResourceType),
            local_mb_endpoint=_endpoint(value, "localMbEndpoint"),
            remote_mb_endpoint=_endpoint(value, "remoteMbEndpoint"),
            dc_media=None if dc_media is None else DcMedia.from_json(dc_media),
        )

    def to_json(self) -> dict[str, Any]:
        """Write a ``MediaInfo``."""
        return without_none(
            {
                "mediaId": self.media_id,
                "mediaResourceType": self.media_resource_type.value,
                "localMbEndpoint": _to_json(self.local_mb_endpoint),
                "remoteMbEndpoint": _to_json(self.remote_mb_endpoint),
                "dcMedia": None if self.dc_media is None else self.dc_media.to_json(),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminationInfo:
    """``TerminationInfo``: medias of one side."""

    medias: tuple[MediaInfo, ...]
    termination_id: str | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> TerminationInfo:
        """Read a ``TerminationInfo``.

        Raises:
            ParseError: a member is missing or malformed.
        """
        return cls(
            termination_id=value.optional_text("terminationId"),
            medias=tuple(MediaInfo.from_json(item) for item in value.array("medias")),
        )

    def to_json(self) -> dict[str, Any]:
        """Write a ``TerminationInfo``."""
        return without_none(
            {
                "terminationId": self.termination_id,
                "medias": [media.to_json() for media in self.medias],
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaContext:
    """``MediaContext``: the resource of ``Nmf_MRM``."""

    terminations: tuple[TerminationInfo, ...]
    context_id: str | None = None

    @classmethod
    def from_json(cls, value: object) -> MediaContext:
        """Read a ``MediaContext``.

        Raises:
            ParseError: a member is missing or malformed.
        """
        context = JsonObject(value, "MediaContext")
        return cls(
            context_id=context.optional_text("contextId"),
            terminations=tuple(
                TerminationInfo.from_json(item) for item in context.array("terminations")
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Write a ``MediaContext``."""
        return without_none(
            {
                "contextId": self.context_id,
                "terminations": [item.to_json() for item in self.terminations],
            }
        )


def _endpoint(value: JsonObject, name: str) -> Endpoint | None:
    member = value.optional_object(name)
    return None if member is None else Endpoint.from_json(member)


def _dc_endpoint(value: JsonObject, name: str) -> DcEndpoint | None:
    member = value.optional_object(name)
    return None if member is None else DcEndpoint.from_json(member)


def _to_json(value: Endpoint | DcEndpoint | None) -> dict[str, Any] | None:
    return None if value is None else value.to_json()
