"""``Nimsas_SessionEventControl`` and ``Nimsas_MediaControl``: IMS AS and DCSF (TS 29.175)."""

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
from dcsdk.emulator.sbi.dc_control import Initiator, SessionCase
from dcsdk.emulator.sbi.json_object import JsonObject, without_none
from dcsdk.emulator.sbi.mrm import MediaProxy, MediaResourceType
from dcsdk.errors import ParseError
from dcsdk.sdp.attributes import DEFAULT_MAX_MESSAGE_SIZE, Setup
from dcsdk.sdp.dcmap import Dcmap

MEDIA_CONTROL_PATH = "/nimsas-mc/v1"


class EventType(Enum):
    """``eventType``."""

    SESSION_ESTABLISHMENT_REQUEST = "SESSION_ESTABLISHMENT_REQUEST"
    SESSION_ESTABLISHMENT_PROGRESS = "SESSION_ESTABLISHMENT_PROGRESS"
    SESSION_ESTABLISHMENT_ALERTING = "SESSION_ESTABLISHMENT_ALERTING"
    SESSION_ESTABLISHMENT_SUCCESS = "SESSION_ESTABLISHMENT_SUCCESS"
    SESSION_ESTABLISHMENT_FAILURE = "SESSION_ESTABLISHMENT_FAILURE"
    MEDIA_CHANGE_REQUEST = "MEDIA_CHANGE_REQUEST"
    MEDIA_CHANGE_SUCCESS = "MEDIA_CHANGE_SUCCESS"
    MEDIA_CHANGE_FAILURE = "MEDIA_CHANGE_FAILURE"
    SESSION_TERMINATION = "SESSION_TERMINATION"


class MediaInstruction(Enum):
    """``mediaInstruction``.

    There is none for a line that goes on to the other UE unchanged (TS 23.228 AC.7.2.1): a media
    that the DCSF leaves out of the set is such a line. That reading is ours.
    """

    TERMINATE_MEDIA = "TERMINATE_MEDIA"
    ORIGINATE_MEDIA = "ORIGINATE_MEDIA"
    TERMINATE_AND_ORIGINATE_MEDIA = "TERMINATE_AND_ORIGINATE_MEDIA"
    UPDATE_MEDIA = "UPDATE_MEDIA"
    DELETE_MEDIA = "DELETE_MEDIA"
    REJECT_MEDIA = "REJECT_MEDIA"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMedia:
    """``MediaInfo`` of a notification: one data channel line as a UE offered it.

    Attributes:
        media_id: key of the line.
        streams: its channels.
        app_binding: ``appBindingInfo``.
        max_message_size: bytes.
        remote_dc_endpoint: the UE's end.
        security_setup: the UE's.
    """

    media_id: str
    streams: tuple[Dcmap, ...] = ()
    app_binding: str | None = None
    max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE
    remote_dc_endpoint: DcEndpoint | None = None
    security_setup: Setup | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> EventMedia:
        """Read an ``EventMedia``.

        Raises:
            ParseError: a member is missing or malformed.
        """
        value.choice("mediaType", MediaResourceType)
        specification = value.optional_object("dcMediaSpecification") or JsonObject({}, "DC")
        streams, app_binding = streams_from_json(specification)
        endpoint = specification.optional_object("remoteDcEndpoint")
        return cls(
            media_id=value.text("mediaId"),
            streams=streams,
            app_binding=app_binding,
            max_message_size=size_from_json(specification),
            remote_dc_endpoint=None if endpoint is None else DcEndpoint.from_json(endpoint),
            security_setup=setup_from_json(specification),
        )

    def to_json(self) -> dict[str, Any]:
        """Write an ``EventMedia``."""
        endpoint = self.remote_dc_endpoint
        return {
            "mediaId": self.media_id,
            "mediaType": MediaResourceType.DC.value,
            "dcMediaSpecification": without_none(
                {
                    "streams": streams_to_json(self.streams, self.app_binding),
                    "maxMessageSize": size_to_kib(self.max_message_size),
                    "remoteDcEndpoint": None if endpoint is None else endpoint.to_json(),
                    "securitySetup": self.security_setup and setup_to_json(self.security_setup),
                }
            ),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEventNotification:
    """``SessionEventNotification``: the IMS AS tells the DCSF of a session.

    Attributes:
        event_type: what happened.
        event_initiator: who caused it.
        session_id: of the IMS AS.
        calling_identity: P-Asserted-Identity of the initial INVITE.
        called_identity: its Request-URI.
        session_case: which side is served.
        medias: the lines in question.
    """

    event_type: EventType
    session_id: str
    event_initiator: Initiator = Initiator.SERVED
    calling_identity: str | None = None
    called_identity: str | None = None
    session_case: SessionCase | None = None
    medias: Mapping[str, EventMedia] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: object) -> SessionEventNotification:
        """Read a ``SessionEventNotification``.

        Raises:
            ParseError: a member is missing or malformed.
        """
        body = JsonObject(value, "SessionEventNotification")
        event = body.object("notificationEvent")
        info = body.optional_object("sessionInfo") or JsonObject({}, "sessionInfo")
        medias = {
            key: EventMedia.from_json(item) for key, item in body.map("mediaInfoList").items()
        }
        _check_keys({key: media.media_id for key, media in medias.items()})
        return cls(
            event_type=event.choice("eventType", EventType),
            event_initiator=event.optional_choice("eventInitiator", Initiator) or Initiator.SERVED,
            session_id=body.text("sessionId"),
            calling_identity=info.optional_text("callingIdentity"),
            called_identity=info.optional_text("calledIdentity"),
            session_case=info.optional_choice("sessionCase", SessionCase),
            medias=medias,
        )

    def to_json(self) -> dict[str, Any]:
        """Write a ``SessionEventNotification``."""
        info = without_none(
            {
                "callingIdentity": self.calling_identity,
                "calledIdentity": self.called_identity,
                "sessionCase": self.session_case and self.session_case.value,
            }
        )
        return without_none(
            {
                "notificationEvent": {
                    "eventType": self.event_type.value,
                    "eventInitiator": self.event_initiator.value,
                },
                "sessionId": self.session_id,
                "sessionInfo": info or None,
                "mediaInfoList": {key: media.to_json() for key, media in self.medias.items()}
                or None,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInstructions:
    """``MediaInstructions``: what becomes of one line.

    Attributes:
        media_id: of an offered line, or a new one with ``ORIGINATE_MEDIA``.
        media_instruction: ``None`` in a result.
        media_proxy_config: how the MF ends it.
        replace_http_urls: stream id to the URL that takes the place of ``/``.
        mdc1_endpoint_dcsf: where the MF reaches the DCSF.
        mdc1_endpoint_mf: the MF's side, in a result.
        streams: the channels taken or offered.
    """

    media_id: str
    media_instruction: MediaInstruction | None = None
    media_proxy_config: MediaProxy | None = None
    replace_http_urls: Mapping[int, str] = field(default_factory=dict)
    mdc1_endpoint_dcsf: Endpoint | None = None
    mdc1_endpoint_mf: Endpoint | None = None
    streams: tuple[Dcmap, ...] = ()

    @classmethod
    def from_json(cls, value: JsonObject) -> MediaInstructions:
        """Read ``MediaInstructions``.

        Raises:
            ParseError: a member is missing or malformed.
        """
        value.choice("mediaResourceType", MediaResourceType)
        specification = value.optional_object("dcMediaSpecification") or JsonObject({}, "DC")
        dcsf = specification.optional_object("mdc1EndpointDcsf")
        mf = specification.optional_object("mdc1EndpointMf")
        return cls(
            media_id=value.text("mediaId"),
            media_instruction=value.optional_choice("mediaInstruction", MediaInstruction),
            media_proxy_config=specification.optional_choice("mediaProxyConfig", MediaProxy),
            replace_http_urls=replace_urls_from_json(specification, "replaceHttpUrls"),
            mdc1_endpoint_dcsf=None if dcsf is None else Endpoint.from_json(dcsf),
            mdc1_endpoint_mf=None if mf is None else Endpoint.from_json(mf),
            streams=streams_from_json(specification)[0],
        )

    def to_json(self) -> dict[str, Any]:
        """Write ``MediaInstructions``."""
        dcsf, mf = self.mdc1_endpoint_dcsf, self.mdc1_endpoint_mf
        specification = without_none(
            {
                "mediaProxyConfig": self.media_proxy_config and self.media_proxy_config.value,
                "replaceHttpUrls": replace_urls_to_json(self.replace_http_urls),
                "mdc1EndpointDcsf": None if dcsf is None else dcsf.to_json(),
                "mdc1EndpointMf": None if mf is None else mf.to_json(),
                "streams": streams_to_json(self.streams),
            }
        )
        return without_none(
            {
                "mediaId": self.media_id,
                "mediaResourceType": MediaResourceType.DC.value,
                "mediaInstruction": self.media_instruction and self.media_instruction.value,
                "dcMediaSpecification": specification,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInstructionData:
    """``MediaInstructionData``: what becomes of the lines of one event."""

    session_id: str
    instructions: Mapping[str, MediaInstructions]

    @classmethod
    def from_json(cls, value: object) -> MediaInstructionData:
        """Read a ``MediaInstructionData``.

        Raises:
            ParseError: a member is missing or malformed.
        """
        body = JsonObject(value, "MediaInstructionData")
        if "mediaInstructionSet" not in body:
            raise ParseError("MediaInstructionData.mediaInstructionSet is missing")
        instructions = {
            key: MediaInstructions.from_json(item)
            for key, item in body.map("mediaInstructionSet").items()
        }
        _check_keys({key: item.media_id for key, item in instructions.items()})
        return cls(session_id=body.text("sessionId"), instructions=instructions)

    def to_json(self) -> dict[str, Any]:
        """Write a ``MediaInstructionData``."""
        return {
            "sessionId": self.session_id,
            "mediaInstructionSet": {
                key: instructions.to_json() for key, instructions in self.instructions.items()
            },
        }


def _check_keys(ids: Mapping[str, str]) -> None:
    for key, media_id in ids.items():
        if key != media_id:
            raise ParseError(f"the key {key[:32]!r} is not its mediaId {media_id[:32]!r}")
