"""One data channel line that ends in the MF: its path, its association, its channels."""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from typing import Any

from dcsdk.emulator.dc.http_proxy import HttpProxy
from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.emulator.sbi.common import DcEndpoint, Endpoint, Transport
from dcsdk.emulator.sbi.mrm import DcMedia, MediaInfo
from dcsdk.emulator.sbi.problem import SbiProblem
from dcsdk.interfaces import (
    Address,
    AppProtocol,
    Association,
    AssociationEngine,
    ChannelParameters,
    DatagramPath,
    DtlsSctpParameters,
)
from dcsdk.io.tasks import TaskSet
from dcsdk.sdp.attributes import Setup
from dcsdk.tls.certificate import Certificate

logger = logging.getLogger(__name__)

SCTP_PORT = 5000
MF_MAX_MESSAGE_SIZE = 64 * 1024
"""``maxMessageSize`` cannot say more (TS 29.571)."""


def new_tls_id() -> str:
    """Return 32 hex digits: legal in SDP and in the pattern of ``DcEndpoint.tlsId``."""
    return secrets.token_hex(16)


class MfResource:
    """The MF's end of one data channel line.

    It answers an offer when it is made with the UE's end point, and makes an offer when without;
    then :meth:`connect` brings the UE's answer.

    Args:
        name: of the MF, for the trace.
        association: on ``path``.
        path: bound for this line.
        certificate: the MF's.
        http: the ``http`` application protocol.
        proxy: takes its requests.
        trace: gets what happens.
    """

    def __init__(
        self,
        *,
        name: str,
        path: DatagramPath,
        association: Association,
        certificate: Certificate,
        http: AppProtocol[Any],
        proxy: HttpProxy,
        trace: TraceBus | None,
    ) -> None:
        self._name = name
        self._path = path
        self._association = association
        self._certificate = certificate
        self._http = http
        self._proxy = proxy
        self._trace = trace
        self._tasks = TaskSet(f"{name} {path.local_address}")
        self._open: set[int] = set()
        self._tls_id: str | None = new_tls_id()
        self._setup = Setup.ACTPASS
        self._peer = "UE"
        self.is_connected = False

    @classmethod
    async def create(
        cls,
        *,
        engine: AssociationEngine,
        engine_config: Any,
        host: str,
        certificate: Certificate,
        **arguments: Any,
    ) -> MfResource:
        """Bind a path and put an association on it. Nothing is sent."""
        path = await engine.bind_path(host)
        try:
            association = engine.create(path, certificate, engine_config)
        except BaseException:
            path.close()
            raise
        return cls(path=path, association=association, certificate=certificate, **arguments)

    def describe(self, media: MediaInfo) -> MediaInfo:
        """Return a ``MediaInfo`` with the MF's end filled in."""
        dc_media = media.dc_media or DcMedia()
        return replace(
            media,
            local_mb_endpoint=Endpoint(address=self._path.local_address, transport=Transport.UDP),
            dc_media=replace(
                dc_media,
                max_message_size=MF_MAX_MESSAGE_SIZE,
                local_dc_endpoint=DcEndpoint(
                    sctp_port=SCTP_PORT,
                    fingerprint=self._certificate.fingerprint,
                    tls_id=self._tls_id,
                ),
                security_setup=self._setup,
            ),
        )

    def connect(self, media: MediaInfo) -> None:
        """Start DTLS with the UE that ``media`` describes; its certificate must match.

        Raises:
            SbiProblem: 400, the description of the UE's end is not complete.
        """
        dc_media = media.dc_media
        if dc_media is None or dc_media.remote_dc_endpoint is None:
            raise _incomplete("remoteDcEndpoint")
        if media.remote_mb_endpoint is None:
            raise _incomplete("remoteMbEndpoint")
        remote_address = media.remote_mb_endpoint.address
        is_offerer = media.local_mb_endpoint is not None
        remote_setup = dc_media.security_setup
        if remote_setup is None or (is_offerer and remote_setup is Setup.ACTPASS):
            raise _incomplete("securitySetup")
        remote = dc_media.remote_dc_endpoint
        if not is_offerer and remote.tls_id is None:
            self._tls_id = None  # RFC 8842 5.3: no tls-id answers an offer without one
        self._setup = Setup.ACTIVE if remote_setup is Setup.PASSIVE else Setup.PASSIVE
        self._association.start(
            DtlsSctpParameters(
                dtls_role="client" if self._setup is Setup.ACTIVE else "server",
                remote_address=remote_address,
                remote_fingerprints=(remote.fingerprint,),
                local_tls_id=self._tls_id,
                remote_tls_id=remote.tls_id,
                local_sctp_port=SCTP_PORT,
                remote_sctp_port=remote.sctp_port,
                local_max_message_size=MF_MAX_MESSAGE_SIZE,
                remote_max_message_size=dc_media.max_message_size,
            )
        )
        self.is_connected = True
        self._peer = self._name_of(remote_address)
        self._tasks.start(self._watch(), name="watch")
        self.update_streams(media)

    def update_streams(self, media: MediaInfo) -> None:
        """Open and serve those channels that are not open yet."""
        dc_media = media.dc_media or DcMedia()
        for stream in dc_media.streams:
            if stream.stream_id in self._open:
                continue
            channel = self._association.open_channel(
                ChannelParameters(stream_id=stream.stream_id, subprotocol=stream.subprotocol)
            )
            self._open.add(stream.stream_id)
            serving = self._proxy.serve(
                self._http.start(channel, is_opener=False),
                stream_id=stream.stream_id,
                peer=self._peer,
                replacement_url=dc_media.replace_http_urls[stream.stream_id],
            )
            self._tasks.start(serving, name=f"stream {stream.stream_id}")

    async def aclose(self) -> None:
        """Close the association and the path. Idempotent and bounded."""
        await self._association.aclose()
        await self._tasks.aclose()
        self._path.close()

    async def _watch(self) -> None:
        error = await self._association.wait_closed()
        if error is None:
            return
        logger.warning("peer=%s association ended: %s", self._peer, error)
        if self._trace is not None:
            summary = f"association ended: {type(error).__name__}"
            self._trace.publish(
                source=self._name, destination=self._peer, protocol="DTLS", summary=summary
            )

    def _name_of(self, address: Address) -> str:
        return str(address) if self._trace is None else self._trace.name_of(address)


def _incomplete(member: str) -> SbiProblem:
    return SbiProblem(
        400, "Bad Request", detail=f"{member} is missing", cause="MANDATORY_IE_MISSING"
    )
