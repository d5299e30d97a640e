"""The DCMF: ends data channels for the network (``Nmf_MRM``, TS 29.176) and proxies their HTTP."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from starlette.requests import Request
from starlette.responses import Response

from dcsdk.emulator.dc.http_proxy import HttpProxy
from dcsdk.emulator.dc.mf_resource import MfResource
from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.emulator.sbi.mrm import (
    MRM_PATH,
    MediaContext,
    MediaInfo,
    MediaProxy,
    MediaResourceType,
    TerminationInfo,
)
from dcsdk.emulator.sbi.patch import apply_patch
from dcsdk.emulator.sbi.problem import SbiProblem
from dcsdk.emulator.sbi.server import JsonResponse, SbiServer, read_json, route
from dcsdk.errors import TransportError
from dcsdk.interfaces import AppProtocol, AssociationEngine
from dcsdk.io.tasks import finish_all
from dcsdk.tls.certificate import Certificate

logger = logging.getLogger(__name__)

NAME = "DCMF"
MAX_CONTEXTS = 10_000
MAX_MEDIAS = 8
"""Lines of one context; each binds a socket."""

MAX_STREAMS = 64
PATCH_TYPE = "application/json-patch+json"
CONTEXTS_PATH = MRM_PATH + "/contexts"


@dataclass(slots=True)
class _Context:
    """A ``MediaContext`` and what stands behind it."""

    context: MediaContext
    resources: dict[str, MfResource] = field(default_factory=dict)

    @property
    def medias(self) -> dict[str, MediaInfo]:
        return {
            media.media_id: media
            for termination in self.context.terminations
            for media in termination.medias
        }

    async def aclose(self) -> None:
        await finish_all(resource.aclose() for resource in self.resources.values())


class Dcmf:
    """The media function for data channels, in HTTP proxy mode.

    Args:
        engine: DTLS/SCTP.
        http: the ``http`` application protocol.
        certificate: shown to UEs; by default a new one.
        engine_config: for the engine.
        host: address of the ``Nmf_MRM`` end point.
        port: of it, 0 for any.
        media_host: address media is bound to, by default ``host``.
        trace: gets every message.
    """

    def __init__(
        self,
        *,
        engine: AssociationEngine,
        http: AppProtocol[Any],
        certificate: Certificate | None = None,
        engine_config: Any = None,
        host: str = "127.0.0.1",
        port: int = 0,
        media_host: str | None = None,
        trace: TraceBus | None = None,
    ) -> None:
        self.certificate = certificate or Certificate.generate()
        self._engine = engine
        self._engine_config = engine_config
        self._http = http
        self._media_host = media_host or host
        self._trace = trace
        self._contexts: dict[str, _Context] = {}
        self._proxy = HttpProxy(NAME, trace)
        routes = [
            route(CONTEXTS_PATH, self._create, "POST"),
            route(CONTEXTS_PATH + "/{context_id}", self._update, "PATCH"),
            route(CONTEXTS_PATH + "/{context_id}", self._delete, "DELETE"),
        ]
        self._server = SbiServer(NAME, routes, host=host, port=port, trace=trace)

    @property
    def api_root(self) -> str:
        """``{apiRoot}`` of ``Nmf_MRM``."""
        return self._server.base_url

    @property
    def context_count(self) -> int:
        """Contexts that exist now."""
        return len(self._contexts)

    async def start(self) -> None:
        """Bind the ``Nmf_MRM`` end point.

        Raises:
            ConfigError: the address cannot be bound.
        """
        await self._server.start()

    async def aclose(self) -> None:
        """Close the end point and every context. Idempotent and bounded."""
        await self._server.aclose()
        contexts, self._contexts = self._contexts, {}
        await finish_all(context.aclose() for context in contexts.values())
        await self._proxy.aclose()

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

    # --- Nmf_MRM ---------------------------------------------------------------------------------
    async def _create(self, request: Request) -> Response:
        """``Nmf_MRM_Create`` (TS 29.176): bind the lines; connect those whose UE end is known."""
        wanted = MediaContext.from_json(await read_json(request))
        medias = [media for item in wanted.terminations for media in item.medias]
        if len(self._contexts) >= MAX_CONTEXTS:
            raise SbiProblem(503, "Service Unavailable", cause="NF_CONGESTION")
        if len(medias) > MAX_MEDIAS or len({media.media_id for media in medias}) != len(medias):
            raise SbiProblem(400, "Bad Request", detail=f"more than {MAX_MEDIAS} or equal medias")
        for media in medias:
            _check(media)
        context = _Context(wanted)
        context_id = secrets.token_hex(8)
        self._contexts[context_id] = context
        try:
            described = {
                media.media_id: await self._bind(context, replace(media, local_mb_endpoint=None))
                for media in medias
            }
        except BaseException as exc:
            self._contexts.pop(context_id, None)
            await context.aclose()
            if isinstance(exc, TransportError):
                raise SbiProblem(503, "Service Unavailable", detail="no media port") from exc
            raise
        context.context = _with_medias(replace(wanted, context_id=context_id), described)
        location = f"{self.api_root}{CONTEXTS_PATH}/{context_id}"
        return JsonResponse(
            context.context.to_json(), status_code=201, headers={"Location": location}
        )

    async def _bind(self, context: _Context, media: MediaInfo) -> MediaInfo:
        resource = await MfResource.create(
            engine=self._engine,
            engine_config=self._engine_config,
            host=self._media_host,
            certificate=self.certificate,
            name=NAME,
            http=self._http,
            proxy=self._proxy,
            trace=self._trace,
        )
        context.resources[media.media_id] = resource
        if media.remote_mb_endpoint is not None:
            resource.connect(media)
        return resource.describe(media)

    async def _update(self, request: Request) -> Response:
        """``Nmf_MRM_Update``: the UE's answer to a line the MF offered, or more streams.

        Another UE end for a connected line is refused: that is a new DTLS association, hence a
        new context.
        """
        context = self._find(request)
        patch = await read_json(request, PATCH_TYPE)
        wanted = MediaContext.from_json(apply_patch(context.context.to_json(), patch))
        before = context.medias
        medias = {media.media_id: media for item in wanted.terminations for media in item.medias}
        if medias.keys() != before.keys():
            raise SbiProblem(409, "Conflict", detail="lines cannot be added to a context")
        for media in medias.values():
            _check(media)
        described = {
            media_id: self._change(context.resources[media_id], before[media_id], media)
            for media_id, media in medias.items()
        }
        context.context = _with_medias(context.context, described)
        return JsonResponse(context.context.to_json())

    def _change(self, resource: MfResource, before: MediaInfo, media: MediaInfo) -> MediaInfo:
        if not resource.is_connected:
            if media.remote_mb_endpoint is not None:
                resource.connect(media)
            return resource.describe(media)
        if _remote_end(before) != _remote_end(media):
            raise SbiProblem(409, "Conflict", detail="the line is connected to another end point")
        resource.update_streams(media)
        return resource.describe(media)

    async def _delete(self, request: Request) -> Response:
        """``Nmf_MRM_Delete``."""
        context = self._find(request)
        del self._contexts[request.path_params["context_id"]]
        await context.aclose()
        return Response(status_code=204)

    def _find(self, request: Request) -> _Context:
        context = self._contexts.get(request.path_params["context_id"])
        if context is None:
            raise SbiProblem(404, "Not Found", cause="CONTEXT_NOT_FOUND")
        return context


def _check(media: MediaInfo) -> None:
    """Refuse what this MF cannot do.

    Raises:
        SbiProblem: 501 for other media than data channels in HTTP proxy mode, 400 for a line that
            is not complete.
    """
    dc_media = media.dc_media
    if media.media_resource_type is not MediaResourceType.DC or dc_media is None:
        raise SbiProblem(501, "Not Implemented", detail="only data channels end here")
    if dc_media.media_proxy_config is not MediaProxy.HTTP:
        raise SbiProblem(501, "Not Implemented", detail="only HTTP proxy mode is here")
    if not 0 < len(dc_media.streams) <= MAX_STREAMS:
        raise SbiProblem(400, "Bad Request", detail=f"1..{MAX_STREAMS} streams are needed")
    for stream in dc_media.streams:
        if stream.stream_id not in dc_media.replace_http_urls:
            raise SbiProblem(
                400,
                "Bad Request",
                detail=f"stream {stream.stream_id} has no replaceHttpUrl",
                cause="MANDATORY_IE_MISSING",
            )
        if stream.max_retr is not None or stream.max_time_ms is not None or not stream.is_ordered:
            raise SbiProblem(400, "Bad Request", detail="HTTP needs ordered, reliable streams")


def _remote_end(media: MediaInfo) -> tuple[object, object]:
    return media.remote_mb_endpoint, media.dc_media and media.dc_media.remote_dc_endpoint


def _with_medias(context: MediaContext, medias: dict[str, MediaInfo]) -> MediaContext:
    """Return the context with its lines as they are now, each termination with an id."""
    return replace(
        context,
        terminations=tuple(
            TerminationInfo(
                termination_id=item.termination_id or f"t{number}",
                medias=tuple(medias[media.media_id] for media in item.medias),
            )
            for number, item in enumerate(context.terminations, start=1)
        ),
    )
