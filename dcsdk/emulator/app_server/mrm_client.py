"""The consumer of ``Nmf_MRM`` in the IMS AS: one MF context per data channel line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dcsdk.emulator.sbi import mrm
from dcsdk.emulator.sbi.client import SbiClient
from dcsdk.emulator.sbi.common import (
    DcEndpoint,
    Endpoint,
    Transport,
    setup_to_json,
    size_to_kib,
)
from dcsdk.emulator.sbi.dc_control import LineEnd
from dcsdk.emulator.sbi.imsas import MediaInstructions
from dcsdk.emulator.sbi.problem import SbiProblem
from dcsdk.errors import ParseError, RemoteProtocolError
from dcsdk.sdp.attributes import Setup

PATCH_TYPE = "application/json-patch+json"
_MEDIA_POINTER = "/terminations/0/medias/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaResource:
    """A context at the MF.

    Attributes:
        url: of the context.
        mdc1_endpoint: the MF's side of MDC1, or ``None``.
    """

    url: str
    mdc1_endpoint: Endpoint | None = None


class MrmClient:
    """Calls ``Nmf_MRM``.

    Args:
        client: of the IMS AS.
        api_root: ``{apiRoot}`` of the MF.
    """

    def __init__(self, client: SbiClient, api_root: str) -> None:
        self._client = client
        self._contexts_url = api_root + mrm.MRM_PATH + "/contexts"

    async def create(
        self, instructions: MediaInstructions, offer: LineEnd | None
    ) -> tuple[LineEnd, MediaResource]:
        """``Nmf_MRM_Create``: the MF answers ``offer``, or makes an offer when there is none.

        Args:
            instructions: of the DCSF.
            offer: the UE's line.

        Returns:
            The MF's side of the line, and the context.

        Raises:
            SbiProblem: the MF refused.
            RemoteProtocolError: its answer is no answer to the offer.
            TransportError: it cannot be reached.
            OperationTimeout: no answer in time.
        """
        dc_media = mrm.DcMedia(
            media_proxy_config=instructions.media_proxy_config,
            replace_http_urls=instructions.replace_http_urls,
            remote_mdc1_endpoint=instructions.mdc1_endpoint_dcsf,
            streams=instructions.streams,
            remote_dc_endpoint=None if offer is None else _dc_endpoint(offer),
            security_setup=None if offer is None else offer.setup,
            max_message_size=0 if offer is None else offer.max_message_size,
        )
        media = mrm.MediaInfo(
            media_id=instructions.media_id,
            remote_mb_endpoint=None if offer is None else _endpoint(offer),
            dc_media=dc_media,
        )
        wanted = mrm.MediaContext(terminations=(mrm.TerminationInfo(medias=(media,)),))
        answer = await self._client.call("POST", self._contexts_url, wanted.to_json())
        location = answer.headers.get("location")
        if location is None or not location.startswith(self._contexts_url + "/"):
            raise RemoteProtocolError("the MF names no context of its own in Location")
        try:
            return _local_side(answer.body, instructions, offer, location)
        except (ParseError, RemoteProtocolError) as exc:
            await self.delete(MediaResource(url=location))
            raise RemoteProtocolError(f"the MF's context cannot be used: {exc}") from exc

    async def connect(self, resource: MediaResource, answer: LineEnd) -> None:
        """``Nmf_MRM_Update``: the UE's answer to a line the MF offered.

        Raises:
            LocalProtocolError: the answer cannot be told.
            SbiProblem: the MF refused; and what :meth:`create` raises for transport.
        """
        values: dict[str, Any] = {
            "/remoteMbEndpoint": _endpoint(answer).to_json(),
            "/dcMedia/remoteDcEndpoint": _dc_endpoint(answer).to_json(),
            "/dcMedia/securitySetup": setup_to_json(answer.setup),
            "/dcMedia/maxMessageSize": size_to_kib(answer.max_message_size),
        }
        patch = [
            {"op": "add", "path": _MEDIA_POINTER + path, "value": value}
            for path, value in values.items()
        ]
        await self._client.call("PATCH", resource.url, patch, content_type=PATCH_TYPE)

    async def delete(self, resource: MediaResource) -> None:
        """``Nmf_MRM_Delete``; a context that is gone already is no error.

        Raises:
            SbiProblem: the MF refused; and what :meth:`create` raises for transport.
        """
        try:
            await self._client.call("DELETE", resource.url)
        except SbiProblem as exc:
            if exc.status != 404:
                raise


def _endpoint(media: LineEnd) -> Endpoint:
    return Endpoint(address=media.address, transport=Transport.UDP)


def _dc_endpoint(media: LineEnd) -> DcEndpoint:
    return DcEndpoint(sctp_port=media.sctp_port, fingerprint=media.fingerprint, tls_id=media.tls_id)


def _local_side(
    body: object, instructions: MediaInstructions, offer: LineEnd | None, location: str
) -> tuple[LineEnd, MediaResource]:
    """Read the MF's side of a line out of its context."""
    context = mrm.MediaContext.from_json(body)
    media = context.terminations[0].medias[0]
    dc_media = media.dc_media
    if dc_media is None or dc_media.local_dc_endpoint is None or media.local_mb_endpoint is None:
        raise RemoteProtocolError("the MF's context has no local end point")
    setup = dc_media.security_setup
    setups = (Setup.ACTPASS,) if offer is None else (Setup.ACTIVE, Setup.PASSIVE)
    if setup is None or setup not in setups:
        raise RemoteProtocolError(f"the MF says securitySetup {setup}")
    taken = {stream.stream_id for stream in dc_media.streams}
    # JSON has no label: an accepted dcmap is repeated as it was offered (RFC 8864 6.3).
    offered = instructions.streams if offer is None else offer.streams
    local = dc_media.local_dc_endpoint
    side = LineEnd(
        address=media.local_mb_endpoint.address,
        sctp_port=local.sctp_port,
        fingerprint=local.fingerprint,
        tls_id=local.tls_id,
        setup=setup,
        max_message_size=dc_media.max_message_size,
        streams=tuple(stream for stream in offered if stream.stream_id in taken),
    )
    return side, MediaResource(url=location, mdc1_endpoint=dc_media.local_mdc1_endpoint)
