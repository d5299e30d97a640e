"""The HTTP half of the IMS AS: DC1 towards the DCSF, DC2 towards the MF.

It notifies the DCSF (``Nimsas_SessionEventControl``), takes its instructions
(``Nimsas_MediaControl``, TS 29.175), carries them out at the MF (``Nmf_MRM``, TS 29.176), and gives
the SIP half a decision per line. Source: TS 23.228 AC.7, TS 24.186 9.3.2.2, 9.3.3.2.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from starlette.requests import Request
from starlette.responses import Response

from dcsdk.emulator.app_server.mrm_client import MediaResource, MrmClient
from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.emulator.sbi.client import SbiClient
from dcsdk.emulator.sbi.common import DcEndpoint, size_to_kib
from dcsdk.emulator.sbi.dc_control import (
    DcControlError,
    Decision,
    Initiator,
    LineEnd,
    SessionCase,
    SessionEvent,
    SessionInfo,
    Verdict,
)
from dcsdk.emulator.sbi.imsas import (
    MEDIA_CONTROL_PATH,
    EventMedia,
    EventType,
    MediaInstruction,
    MediaInstructionData,
    MediaInstructions,
    SessionEventNotification,
)
from dcsdk.emulator.sbi.problem import SbiProblem
from dcsdk.emulator.sbi.server import JsonResponse, SbiServer, read_json, route
from dcsdk.errors import DcsdkError, LocalProtocolError

logger = logging.getLogger(__name__)

NAME = "IMS-AS"
INSTRUCTION_TIMEOUT_S = 5.0
MAX_SESSIONS = 10_000
MAX_ORIGINATED = 8
"""Lines the DCSF may add to one offer."""


@dataclass(slots=True)
class _Pending:
    """A request event that waits for its instructions."""

    offered: Mapping[str, LineEnd]
    result: asyncio.Future[Mapping[str, Decision]]
    is_taken: bool = False


@dataclass(slots=True)
class _Session:
    info: SessionInfo
    resources: dict[str, MediaResource] = field(default_factory=dict)
    pending: _Pending | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class ImsAsHttp:
    """Implements :class:`dcsdk.emulator.sbi.dc_control.DcControl` on real HTTP.

    Args:
        notification_url: the DCSF's ``SessionEventNotificationUri``.
        mrm_root: ``{apiRoot}`` of the MF.
        host: address of the ``Nimsas_MediaControl`` end point.
        port: of it, 0 for any.
        trace: gets every message.
        timeout_s: how long instructions may take, seconds.
    """

    def __init__(
        self,
        *,
        notification_url: str,
        mrm_root: str,
        host: str = "127.0.0.1",
        port: int = 0,
        trace: TraceBus | None = None,
        timeout_s: float = INSTRUCTION_TIMEOUT_S,
    ) -> None:
        self._notification_url = notification_url
        self._timeout_s = timeout_s
        self._sessions: dict[str, _Session] = {}
        self._client = SbiClient(NAME)
        self._mrm = MrmClient(self._client, mrm_root)
        path = MEDIA_CONTROL_PATH + "/call-sessions/{session_id:path}/media-instruction"
        routes = [route(path, self._on_instruction, "POST")]
        self._server = SbiServer(NAME, routes, host=host, port=port, trace=trace)

    @property
    def api_root(self) -> str:
        """``{apiRoot}`` of ``Nimsas_MediaControl``, for the DCSF."""
        return self._server.base_url

    async def start(self) -> None:
        """Bind the ``Nimsas_MediaControl`` end point.

        Raises:
            ConfigError: the address cannot be bound.
        """
        await self._server.start()

    async def aclose(self) -> None:
        """Close the end point; contexts at the MF are its own to close. Idempotent, bounded."""
        for session in self._sessions.values():
            if session.pending is not None and not session.pending.result.done():
                session.pending.result.set_exception(DcControlError("the IMS AS closes"))
        self._sessions.clear()
        await self._server.aclose()
        await self._client.aclose()

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

    # --- DcControl -------------------------------------------------------------------------------
    async def session_establishment(
        self, session: SessionInfo, offered: Mapping[str, LineEnd]
    ) -> Mapping[str, Decision]:
        """Report an initial offer and do what the DCSF instructs; see ``DcControl``.

        The session exists from here on, whatever the outcome, until :meth:`session_ended`.
        """
        if session.session_id in self._sessions:
            raise DcControlError(f"the session {session.session_id} exists already")
        if len(self._sessions) >= MAX_SESSIONS:
            raise DcControlError(f"more than {MAX_SESSIONS} sessions")
        entry = self._sessions[session.session_id] = _Session(session)
        return await self._ask(
            entry, EventType.SESSION_ESTABLISHMENT_REQUEST, _initiator(session), offered
        )

    async def media_change(
        self, session_id: str, initiator: Initiator, offered: Mapping[str, LineEnd]
    ) -> Mapping[str, Decision]:
        """Report lines that a re-offer adds or changes; see ``DcControl``."""
        return await self._ask(
            self._find(session_id), EventType.MEDIA_CHANGE_REQUEST, initiator, offered
        )

    async def media_answered(self, session_id: str, media_id: str, answer: LineEnd) -> None:
        """Give the MF the answer to a line it offered; see ``DcControl``."""
        resource = self._find(session_id).resources.get(media_id)
        if resource is None:
            raise DcControlError(f"the MF has no line {media_id}")
        with _control_errors("the MF did not take the answer"):
            await self._mrm.connect(resource, answer)

    async def delete_media(self, session_id: str, media_ids: Sequence[str]) -> None:
        """Give up MF contexts; see ``DcControl``."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        failed: DcsdkError | None = None
        for media_id in media_ids:
            resource = session.resources.pop(media_id, None)
            try:
                if resource is not None:
                    await self._mrm.delete(resource)
            except DcsdkError as exc:
                failed = exc
        if failed is not None:
            raise DcControlError(f"the MF did not delete a line: {failed}") from failed

    async def notify(
        self, session_id: str, event: SessionEvent, initiator: Initiator = Initiator.SERVED
    ) -> None:
        """Report an event that asks for no instruction; see ``DcControl``."""
        session = self._find(session_id)
        await self._tell(session.info, EventType(event.value), initiator, {})

    async def session_ended(
        self, session_id: str, initiator: Initiator, *, is_failure: bool = False
    ) -> None:
        """Report the end and give up all contexts of the session; see ``DcControl``."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        ended = EventType.SESSION_TERMINATION
        if is_failure:
            ended = EventType.SESSION_ESTABLISHMENT_FAILURE
        try:
            await self._tell(session.info, ended, initiator, {})
        finally:
            try:
                await self.delete_media(session_id, tuple(session.resources))
            finally:
                self._sessions.pop(session_id, None)

    # --- DC1 -------------------------------------------------------------------------------------
    def _find(self, session_id: str) -> _Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise DcControlError(f"there is no session {session_id}")
        return session

    async def _tell(
        self,
        info: SessionInfo,
        event_type: EventType,
        initiator: Initiator,
        medias: Mapping[str, EventMedia],
    ) -> None:
        notification = SessionEventNotification(
            event_type=event_type,
            event_initiator=initiator,
            session_id=info.session_id,
            calling_identity=info.calling_identity,
            called_identity=info.called_identity,
            session_case=info.session_case,
            medias=medias,
        )
        with _control_errors("the DCSF did not take a notification"):
            await self._client.call("POST", self._notification_url, notification.to_json())

    async def _ask(
        self,
        session: _Session,
        event_type: EventType,
        initiator: Initiator,
        offered: Mapping[str, LineEnd],
    ) -> Mapping[str, Decision]:
        """Notify a request event and wait for what the DCSF instructs."""
        medias: dict[str, EventMedia] = {}
        decisions: dict[str, Decision] = {}
        for media_id, media in offered.items():
            try:
                medias[media_id] = _media_info(media_id, media)
            except LocalProtocolError as exc:
                logger.warning("media_id=%s cannot be told to the DCSF: %s", media_id, exc)
                decisions[media_id] = Decision(verdict=Verdict.REJECT)
        async with session.turn:
            result: asyncio.Future[Mapping[str, Decision]]
            result = asyncio.get_running_loop().create_future()
            told = {media_id: offered[media_id] for media_id in medias}
            session.pending = _Pending(told, result)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._tell(session.info, event_type, initiator, medias)
                    return {**decisions, **await result}
            except TimeoutError as exc:
                if isinstance(exc, DcsdkError):
                    raise
                raise DcControlError("the DCSF gave no instruction") from exc
            finally:
                session.pending = None

    async def _on_instruction(self, request: Request) -> Response:
        data = MediaInstructionData.from_json(await read_json(request))
        session = self._sessions.get(data.session_id)
        if session is None or request.path_params["session_id"] != data.session_id:
            raise SbiProblem(404, "Not Found", cause="SESSION_NOT_FOUND")
        pending = session.pending
        if pending is None or pending.is_taken or pending.result.done():
            raise SbiProblem(409, "Conflict", detail="no event waits for instructions")
        _check(data, pending.offered)
        pending.is_taken = True
        decisions = {
            media_id: Decision(verdict=Verdict.FORWARD)
            for media_id in pending.offered.keys() - data.instructions.keys()
        }
        results: dict[str, MediaInstructions] = {}
        for media_id, instructions in data.instructions.items():
            if instructions.media_instruction is MediaInstruction.REJECT_MEDIA:
                decisions[media_id] = Decision(verdict=Verdict.REJECT)
                continue
            offer = pending.offered.get(media_id)
            media, resource = await self._end_in_mf(instructions, offer)
            if resource is None or media is None:
                if offer is not None:
                    decisions[media_id] = Decision(verdict=Verdict.REJECT)
                continue
            old = session.resources.pop(media_id, None)
            session.resources[media_id] = resource
            if old is not None:
                await self._give_up(old)
            verdict = Verdict.ORIGINATE if offer is None else Verdict.TERMINATE
            decisions[media_id] = Decision(verdict=verdict, media=media)
            results[media_id] = MediaInstructions(
                media_id=media_id, streams=media.streams, mdc1_endpoint_mf=resource.mdc1_endpoint
            )
        if session.pending is not pending or pending.result.done():
            # The event was given up meanwhile: nobody will use these lines.
            for media_id in results:
                if (resource := session.resources.pop(media_id, None)) is not None:
                    await self._give_up(resource)
            raise SbiProblem(409, "Conflict", detail="the event waits no more")
        pending.result.set_result(decisions)
        result = MediaInstructionData(session_id=data.session_id, instructions=results)
        return JsonResponse(result.to_json())

    # --- DC2 -------------------------------------------------------------------------------------
    async def _end_in_mf(
        self, instructions: MediaInstructions, offer: LineEnd | None
    ) -> tuple[LineEnd | None, MediaResource | None]:
        """Make the MF end or offer a line; a line it cannot end is refused, never passed on."""
        try:
            return await self._mrm.create(instructions, offer)
        except DcsdkError as exc:
            logger.warning("media_id=%s the MF refused: %s", instructions.media_id, exc)
            return None, None

    async def _give_up(self, resource: MediaResource) -> None:
        try:
            await self._mrm.delete(resource)
        except DcsdkError as exc:
            logger.warning("a context stays at the MF: %s", exc)


@contextmanager
def _control_errors(what: str) -> Iterator[None]:
    """Turn what HTTP calls raise into ``DcControlError``."""
    try:
        yield
    except DcsdkError as exc:
        raise DcControlError(f"{what}: {exc}") from exc


def _initiator(session: SessionInfo) -> Initiator:
    """The offerer of an initial INVITE is the served user where the calling user is served."""
    is_served = session.session_case is SessionCase.ORIGINATING
    return Initiator.SERVED if is_served else Initiator.REMOTE


def _media_info(media_id: str, media: LineEnd) -> EventMedia:
    """Return a line as the DCSF is told of it.

    Raises:
        LocalProtocolError: its ``max-message-size`` cannot be told.
    """
    size_to_kib(media.max_message_size)
    return EventMedia(
        media_id=media_id,
        streams=media.streams,
        app_binding=media.app_binding,
        max_message_size=media.max_message_size,
        remote_dc_endpoint=DcEndpoint(
            sctp_port=media.sctp_port, fingerprint=media.fingerprint, tls_id=media.tls_id
        ),
        security_setup=media.setup,
    )


def _check(data: MediaInstructionData, offered: Mapping[str, LineEnd]) -> None:
    """Refuse instructions that do not fit the event.

    Raises:
        SbiProblem: 404 for a line nobody offered, 501 for an instruction we cannot carry out,
            400 for too many new lines, or a channel that no ``a=dcmap`` may describe.
    """
    new = data.instructions.keys() - offered.keys()
    if len(new) > MAX_ORIGINATED:
        raise SbiProblem(400, "Bad Request", detail=f"more than {MAX_ORIGINATED} new lines")
    for media_id, instructions in data.instructions.items():
        wanted = instructions.media_instruction
        if any(stream.has_conflict for stream in instructions.streams):
            raise SbiProblem(400, "Bad Request", detail="maxRetry and maxTime exclude each other")
        if media_id in new and wanted is not MediaInstruction.ORIGINATE_MEDIA:
            raise SbiProblem(404, "Not Found", cause="MEDIA_NOT_FOUND")
        if media_id not in new and wanted not in (
            MediaInstruction.TERMINATE_MEDIA,
            MediaInstruction.REJECT_MEDIA,
        ):
            raise SbiProblem(501, "Not Implemented", detail=f"{wanted} for an offered line")
