"""The DCSF: decides what becomes of data channels, and serves lists and applications.

It learns of sessions by ``Nimsas_SessionEventControl``, instructs the IMS AS by
``Nimsas_MediaControl`` (DC1, TS 29.175), and answers the MF on MDC1. Source: TS 23.228 AC.7,
TS 24.186 9.3.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from dcsdk.emulator.dc.mdc1 import Mdc1Content, list_path
from dcsdk.emulator.dc.repository import AppRepository
from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.emulator.sbi.client import SbiClient
from dcsdk.emulator.sbi.common import Endpoint, Transport
from dcsdk.emulator.sbi.dc_control import Initiator, SessionCase
from dcsdk.emulator.sbi.imsas import (
    MEDIA_CONTROL_PATH,
    EventMedia,
    EventType,
    MediaInstruction,
    MediaInstructionData,
    MediaInstructions,
    SessionEventNotification,
)
from dcsdk.emulator.sbi.mrm import MediaProxy
from dcsdk.emulator.sbi.problem import SbiProblem
from dcsdk.emulator.sbi.server import SbiServer, read_json, route
from dcsdk.errors import ConfigError, DcsdkError
from dcsdk.ims.profile import DEFAULT_PROFILE, ImsProfile
from dcsdk.io.tasks import TaskSet
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.sdp.ims_attributes import parse_req_app

logger = logging.getLogger(__name__)

NAME = "DCSF"
NOTIFICATION_PATH = "/session-events"
MAX_SESSIONS = 10_000
MAX_PENDING_INSTRUCTIONS = 1000
HTTP_SUBPROTOCOL = "http"

LOCAL_LINE_ID = "local0"
"""Media id of the local bootstrap line that is offered to the called user."""

_REQUESTS = (EventType.SESSION_ESTABLISHMENT_REQUEST, EventType.MEDIA_CHANGE_REQUEST)
_ENDS = (EventType.SESSION_ESTABLISHMENT_FAILURE, EventType.SESSION_TERMINATION)


class AppPolicy(Enum):
    """What becomes of an application's channels."""

    P2P = "P2P"
    """They go to the other UE, not anchored (TS 23.228 AC.7.2.1)."""
    REJECT = "REJECT"
    """They are refused."""


class Dcsf:
    """The DC signalling function.

    Args:
        repository: the applications; each of them may be used unless ``policy`` says otherwise.
        policy: by application id.
        unknown_app: for applications that are neither in ``policy`` nor in the repository, and
            for application lines without ``a=3gpp-req-app``.
        host: address to bind.
        port: of the notification end point, 0 for any.
        mdc1_port: of the MDC1 end point, 0 for any.
        trace: gets every message.
        profile: the bootstrap stream ids, and how an application id is found.
    """

    def __init__(
        self,
        *,
        repository: AppRepository | None = None,
        policy: Mapping[str, AppPolicy] | None = None,
        unknown_app: AppPolicy = AppPolicy.REJECT,
        host: str = "127.0.0.1",
        port: int = 0,
        mdc1_port: int = 0,
        trace: TraceBus | None = None,
        profile: ImsProfile = DEFAULT_PROFILE,
    ) -> None:
        self.repository = repository or AppRepository()
        self.policy = dict(policy or {})
        self._unknown_app = unknown_app
        self._profile = profile
        self._sessions: dict[str, SessionCase | None] = {}
        self._media_control_url: str | None = None
        content = Mdc1Content(self.repository, self._sessions.__contains__)
        events = [route(NOTIFICATION_PATH, self._on_event, "POST")]
        self._sbi = SbiServer(NAME, events, host=host, port=port, trace=trace)
        self._mdc1 = SbiServer(NAME, content.routes, host=host, port=mdc1_port, trace=trace)
        self._client = SbiClient(NAME)
        self._tasks = TaskSet(NAME)

    @property
    def notification_url(self) -> str:
        """The ``SessionEventNotificationUri`` for the IMS AS."""
        return self._sbi.base_url + NOTIFICATION_PATH

    @property
    def mdc1_url(self) -> str:
        """Root of the MDC1 end point."""
        return self._mdc1.base_url

    def connect(self, media_control_root: str) -> None:
        """Say where the IMS AS takes instructions.

        Args:
            media_control_root: ``{apiRoot}`` of its ``Nimsas_MediaControl``.
        """
        self._media_control_url = media_control_root + MEDIA_CONTROL_PATH

    async def start(self) -> None:
        """Bind both end points.

        Raises:
            ConfigError: an address cannot be bound.
        """
        await self._sbi.start()
        try:
            await self._mdc1.start()
        except ConfigError:
            await self._sbi.aclose()
            raise

    async def aclose(self) -> None:
        """Close everything. Idempotent and bounded."""
        await self._tasks.aclose()
        await self._client.aclose()
        await self._sbi.aclose()
        await self._mdc1.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- decisions -------------------------------------------------------------------------------
    def decide(self, event: SessionEventNotification) -> MediaInstructionData:
        """Return the instructions that answer a request event.

        A line left out of the set goes on unchanged.
        """
        instructions = {}
        for media_id, media in event.medias.items():
            decided = self._decide_line(event, media)
            if decided is not None:
                instructions[media_id] = decided
        is_called_user = self._sessions.get(event.session_id) is SessionCase.TERMINATING
        if event.event_type is EventType.SESSION_ESTABLISHMENT_REQUEST and is_called_user:
            streams = (
                Dcmap(stream_id=self._profile.bootstrap_local_ids[0], subprotocol=HTTP_SUBPROTOCOL),
            )
            instructions[LOCAL_LINE_ID] = self._end_in_mf(
                event.session_id, LOCAL_LINE_ID, streams, MediaInstruction.ORIGINATE_MEDIA
            )
        return MediaInstructionData(session_id=event.session_id, instructions=instructions)

    def _decide_line(
        self, event: SessionEventNotification, media: EventMedia
    ) -> MediaInstructions | None:
        """Decide one line: who offers it and its stream ids tell what it is (TS 26.114 6.2.10.1).

        Of bootstrap lines the served user's local one and the other side's remote one are ours;
        the served user's remote one is the other network's.
        """
        ids = {stream.stream_id for stream in media.streams}
        is_served = event.event_initiator is Initiator.SERVED
        ours = (
            self._profile.bootstrap_local_ids if is_served else self._profile.bootstrap_remote_ids
        )
        streams = tuple(item for item in media.streams if item.subprotocol == HTTP_SUBPROTOCOL)
        if ids and ids <= set(ours) and streams:
            return self._end_in_mf(
                event.session_id, media.media_id, streams, MediaInstruction.TERMINATE_MEDIA
            )
        if ids and is_served and ids <= set(self._profile.bootstrap_remote_ids):
            return None
        is_application = bool(ids) and min(ids) >= self._profile.first_application_stream_id
        if is_application and self.app_policy(media.app_binding) is AppPolicy.P2P:
            return None
        return MediaInstructions(
            media_id=media.media_id, media_instruction=MediaInstruction.REJECT_MEDIA
        )

    def app_policy(self, app_binding: str | None) -> AppPolicy:
        """Return what the policy says of an application binding information."""
        app_id = None
        if app_binding is not None:
            app_id = parse_req_app(app_binding, self._profile.req_app_pattern).app_id
        if app_id is None:
            return self._unknown_app
        if app_id in self.policy:
            return self.policy[app_id]
        return self._unknown_app if self.repository.get(app_id) is None else AppPolicy.P2P

    def _end_in_mf(
        self,
        session_id: str,
        media_id: str,
        streams: tuple[Dcmap, ...],
        instruction: MediaInstruction,
    ) -> MediaInstructions:
        return MediaInstructions(
            media_id=media_id,
            media_instruction=instruction,
            media_proxy_config=MediaProxy.HTTP,
            replace_http_urls={
                stream.stream_id: self.mdc1_url + list_path(session_id, stream.stream_id)
                for stream in streams
            },
            mdc1_endpoint_dcsf=Endpoint(address=self._mdc1.address, transport=Transport.TCP),
            streams=streams,
        )

    # --- DC1 -------------------------------------------------------------------------------------
    async def _on_event(self, request: Request) -> Response:
        event = SessionEventNotification.from_json(await read_json(request))
        if event.event_type in _ENDS:
            self._sessions.pop(event.session_id, None)
        elif event.event_type in _REQUESTS:
            if event.event_type is EventType.SESSION_ESTABLISHMENT_REQUEST:
                while len(self._sessions) >= MAX_SESSIONS:
                    del self._sessions[next(iter(self._sessions))]
                self._sessions[event.session_id] = event.session_case
            if len(self._tasks) >= MAX_PENDING_INSTRUCTIONS:
                raise SbiProblem(503, "Service Unavailable", cause="NF_CONGESTION")
            self._tasks.start(self._instruct(event), name=event.session_id)
        return Response(status_code=204)

    async def _instruct(self, event: SessionEventNotification) -> None:
        session = quote(event.session_id, safe="")
        url = f"{self._media_control_url}/call-sessions/{session}/media-instruction"
        try:
            if self._media_control_url is None:
                raise ConfigError("the DCSF does not know its IMS AS")
            await self._client.call("POST", url, self.decide(event).to_json())
        except DcsdkError as exc:
            logger.warning("session_id=%s instruction failed: %s", event.session_id, exc)
