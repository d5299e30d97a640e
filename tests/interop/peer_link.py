"""Our side of a connection with a real peer: SDP, a path, an association.

The one place of these tests that knows how SDP of the W3C's kind, ICE and the engine go together.
"""

from __future__ import annotations

import asyncio
import secrets
from types import TracebackType
from typing import Self

from dcsdk.ice.config import IceConfig
from dcsdk.ice.events import IceEvent, PairSelected
from dcsdk.ice.sdp import IceDescription
from dcsdk.interfaces import Address, Association, DatagramPath, DtlsRole, DtlsSctpParameters
from dcsdk.io.net.ice import IcePath
from dcsdk.io.net.udp import UdpPath
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.sdp.association import decide_setup, dtls_role
from dcsdk.sdp.attributes import Attribute, Setup
from dcsdk.sdp.lines import Connection, Origin
from dcsdk.sdp.media import DATA_CHANNEL_FORMAT, MediaDescription
from dcsdk.sdp.session import SessionDescription
from dcsdk.tls.certificate import Certificate

from .messages import LARGEST

HOST = "127.0.0.1"
SCTP_PORT = 5_000


class PeerLink:
    """Our end of one connection, closed when the context ends.

    Args:
        path: where datagrams go; a :class:`IcePath` when the peer speaks ICE.
        config: of the engine.
        is_peer_known: its certificate is checked by its fingerprint; else by one of another.

    Attributes:
        association: started once both descriptions are there.
        role: ours in DTLS, known then.
        remote_max_message_size: bytes the peer takes in one message, known then.
    """

    def __init__(
        self, path: DatagramPath, config: EngineConfig, *, is_peer_known: bool = True
    ) -> None:
        self._path = path
        self._is_peer_known = is_peer_known
        self._certificate = Certificate.generate()
        self.association: Association = NativeEngine().create(path, self._certificate, config)
        self._offered: Setup | None = None
        self.role: DtlsRole | None = None
        self.remote_max_message_size = 0
        self._has_new_pair = asyncio.Event()

    @classmethod
    def create(
        cls,
        host: str = HOST,
        *,
        is_ice: bool = True,
        ice: IceConfig | None = None,
        config: EngineConfig | None = None,
        is_peer_known: bool = True,
    ) -> Self:
        """Bind our end.

        Args:
            host: local address.
            is_ice: the peer speaks ICE.
            ice: settings of ours.
            config: of the engine.
            is_peer_known: expect the fingerprint of the peer's SDP, not that of somebody else.
        """
        path = IcePath.bind(host, config=ice) if is_ice else UdpPath.bind(host)
        return cls(path, config or EngineConfig(), is_peer_known=is_peer_known)

    def offer(self, setup: Setup = Setup.ACTPASS) -> str:
        """Return the SDP of our offer."""
        self._offered = setup
        return self._describe(setup, mid="0")

    def answer(self, sdp: str, setup: Setup) -> str:
        """Return the SDP of our answer, and start.

        Args:
            sdp: the peer's offer.
            setup: the role we prefer, ``active`` or ``passive``.
        """
        session = SessionDescription.parse(sdp)
        media = session.media[0]
        offered = media.effective_setup(session)
        assert offered is not None
        chosen = decide_setup(offered, preferred=setup)
        answer = self._describe(chosen, mid=media.get("mid"))
        self._start(session, dtls_role(offered, chosen, is_offerer=False), is_offerer=False)
        return answer

    def accept(self, sdp: str) -> None:
        """Take the peer's answer, and start."""
        session = SessionDescription.parse(sdp)
        answered = session.media[0].effective_setup(session)
        assert self._offered is not None and answered is not None
        role = dtls_role(self._offered, answered, is_offerer=True)
        self._start(session, role, is_offerer=True)

    def answer_again(self, sdp: str) -> str:
        """Return the SDP of our answer to an offer that restarts ICE.

        Args:
            sdp: the peer's new offer.
        """
        assert isinstance(self._path, IcePath) and self.role is not None
        media = SessionDescription.parse(sdp).media[0]
        description = IceDescription.parse(media.attributes)
        assert description is not None
        assert self._path.set_remote_description(description), "this is no restart"
        setup = Setup.ACTIVE if self.role == "client" else Setup.PASSIVE
        answer = self._describe(setup, mid=media.get("mid"))
        self._path.on_event = self._ice_event
        self._path.start(is_controlling=False)
        return answer

    async def wait_new_pair(self) -> None:
        """Wait until data goes over a pair that the restart found."""
        await self._has_new_pair.wait()

    def _ice_event(self, event: IceEvent) -> None:
        if isinstance(event, PairSelected):
            self._has_new_pair.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.association.aclose()

    def _describe(self, setup: Setup, *, mid: str | None) -> str:
        host, port = self._path.local_address
        attributes: list[Attribute] = []
        session_attributes: list[Attribute] = []
        if isinstance(self._path, IcePath):
            description = self._path.local_description
            attributes += description.media_attributes
            session_attributes += description.session_attributes
        if mid is not None:
            attributes.append(Attribute("mid", mid))
            session_attributes.append(Attribute("group", f"BUNDLE {mid}"))
        attributes += [
            Attribute("setup", setup),
            Attribute("fingerprint", str(self._certificate.fingerprint)),
            Attribute("sctp-port", str(SCTP_PORT)),
            Attribute("max-message-size", str(LARGEST)),
        ]
        media = MediaDescription.create(
            media="application",
            port=port,
            proto="UDP/DTLS/SCTP",
            formats=(DATA_CHANNEL_FORMAT,),
            connection=Connection.create(host),
            attributes=attributes,
        )
        origin = Origin.create(session_id=secrets.randbits(62), version=1, address=host)
        session = SessionDescription.create(
            origin=origin, attributes=session_attributes, media=(media,)
        )
        return str(session)

    def _start(self, session: SessionDescription, role: DtlsRole, *, is_offerer: bool) -> None:
        media = session.media[0]
        remote = media.address(session)
        sctp_port = media.sctp_port
        assert remote is not None and sctp_port is not None
        self.role = role
        self.remote_max_message_size = media.max_message_size
        if isinstance(self._path, IcePath):
            self._start_ice(self._path, session, is_offerer=is_offerer)
        fingerprints = media.fingerprints(session)
        if not self._is_peer_known:
            fingerprints = (Certificate.generate().fingerprint,)
        self.association.start(
            DtlsSctpParameters(
                dtls_role=role,
                remote_address=remote,
                remote_fingerprints=fingerprints,
                local_tls_id=None,
                remote_tls_id=media.tls_id,
                local_sctp_port=SCTP_PORT,
                remote_sctp_port=sctp_port,
                local_max_message_size=LARGEST,
                remote_max_message_size=media.max_message_size,
            )
        )

    @staticmethod
    def _start_ice(path: IcePath, session: SessionDescription, *, is_offerer: bool) -> None:
        description = IceDescription.parse(session.media[0].attributes, session.attributes)
        assert description is not None, "the peer does not speak ICE"
        path.set_remote_description(description)
        path.start(is_controlling=is_offerer)

    @property
    def local_address(self) -> Address:
        """Where we receive, or send from once ICE has found a pair."""
        return self._path.local_address
