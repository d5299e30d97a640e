"""The paths of one line until and after the answer, and what SDP says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dcsdk.errors import ConfigError, NegotiationError, ParseError, RemoteProtocolError
from dcsdk.interfaces.media import PathNeeds
from dcsdk.interfaces.paths import Address, DatagramPath, Paths, StreamPath
from dcsdk.interfaces.values import Attributes
from dcsdk.io.net.stream import TcpPath
from dcsdk.sdp.address import read_address
from dcsdk.sdp.lines import Connection
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.rtcp import RtcpAddress, remote_rtcp_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dcsdk.ice.sdp import IceDescription
    from dcsdk.io.net.ice import IcePath
    from dcsdk.io.secure.engine_config import EngineConfig
    from dcsdk.sdp.attributes import Attribute
    from dcsdk.sdp.session import SessionDescription

IceMode = Literal["off", "full", "lite"]


def _pairs(attributes: Iterable[Attribute]) -> Attributes:
    return tuple((attribute.name, attribute.value) for attribute in attributes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteEnd:
    """What a peer's description says of its end of the paths.

    Attributes:
        address: of ``c=`` and ``m=``.
        rtcp_address: of RTCP, or ``None`` when it shares the path or there is none.
        ice: what it says of ICE; ``None`` when ICE is not to run with it.
    """

    address: Address
    rtcp_address: Address | None
    ice: IceDescription | None


class LinePaths:
    """Paths, the attributes that announce them, and what becomes of the peer's.

    Args:
        needs: what the line runs on.
        rtp: of the media, or of everything.
        rtcp: of RTCP, or ``None``.
        stream: instead of both.
        ice: the same path as ``rtp`` when it runs ICE.
        is_lite: our side of ICE only answers.
    """

    def __init__(
        self,
        needs: PathNeeds,
        *,
        rtp: DatagramPath | None = None,
        rtcp: DatagramPath | None = None,
        stream: StreamPath | None = None,
        ice: IcePath | None = None,
        is_lite: bool = False,
    ) -> None:
        self.needs = needs
        self.paths = Paths(rtp=rtp, rtcp=rtcp, stream=stream)
        self._ice = ice
        self._is_lite = is_lite
        self._is_restarting = False

    @classmethod
    def bind(cls, needs: PathNeeds, host: str, mode: IceMode, settings: EngineConfig) -> LinePaths:
        """Bind the paths of a line on one local address. Nothing is sent.

        Args:
            needs: what the line runs on.
            host: a local address.
            mode: what our side does about ICE.
            settings: of the sockets.

        Raises:
            TransportError: the address cannot be bound.
        """
        if needs.is_stream:
            return cls(needs, stream=TcpPath.bind(host, capture=settings.capture))
        if mode == "off" or not needs.is_ice_able:
            rtp = settings.bind_udp(host)
            try:
                rtcp = settings.bind_udp(host) if needs.has_rtcp else None
            except BaseException:
                rtp.close()
                raise
            return cls(needs, rtp=rtp, rtcp=rtcp)
        # Only here: ICE's library takes long to import, and most clients do without.
        from dcsdk.ice.config import IceConfig
        from dcsdk.io.net.ice import IcePath

        is_lite = mode == "lite"
        config = IceConfig(is_lite=is_lite)
        ice = IcePath.bind(
            host,
            config=config,
            use_gso=settings.use_gso,
            use_gro=settings.use_gro,
            capture=settings.capture,
        )
        return cls(needs, rtp=ice, ice=ice, is_lite=is_lite)

    # --- our end ---------------------------------------------------------------------------------
    @property
    def address(self) -> Address:
        """Ours in ``c=`` and ``m=``."""
        path = self.paths.rtp or self.paths.stream
        if path is None:
            raise ConfigError("a line without a path has no address")
        return path.local_address

    @property
    def runs_ice(self) -> bool:
        """ICE decides where datagrams go."""
        return self._ice is not None

    @property
    def is_controlling(self) -> bool:
        """ICE runs, and our side nominates the pair; a restart keeps the roles (RFC 8445 6.1.1)."""
        return self._ice is not None and self._ice.is_controlling

    def attributes(self, *, is_muxed: bool, remote: RemoteEnd | None = None) -> Attributes:
        """Return what stands under the media line.

        Args:
            is_muxed: RTCP shares the path of RTP.
            remote: the offering end that is answered: without ICE there, none here.
        """
        is_plain = self._ice is None or (remote is not None and remote.ice is None)
        ice = (
            ()
            if is_plain or self._ice is None
            else _pairs(self._ice.local_description.media_attributes)
        )
        rtcp = self.paths.rtcp
        if rtcp is None or is_muxed:
            return ice
        host, port = rtcp.local_address
        return (("rtcp", str(RtcpAddress(port=port, connection=Connection.create(host)))), *ice)

    def session_attributes(self, remote: RemoteEnd | None = None) -> Attributes:
        """Return what stands before the first media line (RFC 8839 5.3)."""
        if remote is not None and remote.ice is None:
            return ()
        if self._ice is None:
            return ()
        return _pairs(self._ice.local_description.session_attributes)

    # --- the peer's end --------------------------------------------------------------------------
    def read(self, media: MediaDescription, session: SessionDescription) -> RemoteEnd:
        """Read what the peer says of its end. Nothing changes.

        Raises:
            RemoteProtocolError: an address or an ICE attribute is malformed.
        """
        address = read_address(media, session)
        has_rtcp = self.paths.rtcp is not None and not media.has("rtcp-mux")
        return RemoteEnd(
            address=address,
            rtcp_address=(
                remote_rtcp_address(media, session, is_multiplexed=False) if has_rtcp else None
            ),
            ice=self._read_ice(media, session),
        )

    def _read_ice(
        self, media: MediaDescription, session: SessionDescription
    ) -> IceDescription | None:
        if self._ice is None:
            return None
        from dcsdk.ice.sdp import IceDescription

        try:
            remote = IceDescription.parse(media.attributes, session.attributes)
        except ParseError as exc:
            raise RemoteProtocolError(str(exc), source=exc.source) from exc
        if remote is None or remote.is_mismatch or (remote.is_lite and self._is_lite):
            return None
        return remote

    def keeps_ice(self, remote: RemoteEnd) -> bool:
        """Tell whether the peer's description goes on with the ICE session in force.

        It does not when it restarts ICE (RFC 8839 4.4.3) or leaves it, and when no ICE runs here.
        """
        return self._ice is not None and remote.ice is not None and not self._needs_restart(remote)

    def _needs_restart(self, remote: RemoteEnd) -> bool:
        return (
            self._ice is not None and remote.ice is not None and self._ice.needs_restart(remote.ice)
        )

    def prepare_answer(self, remote: RemoteEnd) -> None:
        """Have new ICE credentials for the answer to an offer that restarts ICE."""
        if self._needs_restart(remote):
            self.prepare_restart()

    def prepare_restart(self) -> None:
        """Have new ICE credentials in the next description.

        Raises:
            NegotiationError: ICE does not run here.
        """
        if self._ice is None:
            raise NegotiationError("ICE does not run on this line", source="RFC 8839 4.4.1.1.1")
        self._is_restarting = True
        self._ice.prepare_restart()

    def rollback(self) -> None:
        """The description came to nothing."""
        if self._is_restarting and self._ice is not None:
            self._ice.cancel_restart()
        self._is_restarting = False

    def commit(self, remote: RemoteEnd, *, is_offerer: bool, old: LinePaths | None = None) -> None:
        """Go by the peer's description from now on.

        A peer without ICE, or two lite ends, leave plain UDP to the addresses in ``c=`` and
        ``m=``.

        Args:
            remote: from ``read``.
            is_offerer: our side made the first offer; it controls ICE (RFC 8445 6.1.1).
            old: the paths whose place these take: our side controls if it did there.
        """
        ice = self._ice
        is_restart, self._is_restarting = self._is_restarting, False
        if ice is None:
            return
        if remote.ice is None:
            ice.cancel_restart()
            self._ice = None
            ice.use_without_ice(remote.address)
            return
        is_restart = is_restart or ice.needs_restart(remote.ice)
        is_first = ice.remote_description is None
        if is_restart:
            ice.restart()
        ice.set_remote_description(remote.ice)
        if is_restart or is_first:
            controls = is_offerer if old is None else old.is_controlling
            ice.start(is_controlling=remote.ice.is_lite or (controls and not self._is_lite))

    def connect(self, remote: RemoteEnd) -> None:
        """Let the paths lead to the peer; what came early is taken now.

        Raises:
            ConfigError, TransportError: they cannot.
        """
        if self.paths.rtp is not None:
            self.paths.rtp.set_remote(remote.address)
        if self.paths.rtcp is not None and remote.rtcp_address is not None:
            self.paths.rtcp.set_remote(remote.rtcp_address)
        if self.paths.stream is not None:
            self.paths.stream.set_remote(remote.address)

    def fork(self) -> LinePaths:
        """Make paths on the same addresses, for another remote end.

        Raises:
            LocalProtocolError, TransportError: an address cannot be shared.
        """
        rtp, rtcp = self.paths.rtp, self.paths.rtcp
        return LinePaths(
            self.needs,
            rtp=None if rtp is None else rtp.fork(),
            rtcp=None if rtcp is None else rtcp.fork(),
        )

    async def close(self) -> None:
        """Close the paths. Closing twice is no error."""
        for path in (self.paths.rtp, self.paths.rtcp):
            if path is not None:
                path.close()
        if self.paths.stream is not None:
            await self.paths.stream.aclose(0.0)
