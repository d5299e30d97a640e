"""The datagram path of a media line: plain UDP, or ICE where both ends speak it (limit D7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dcsdk.errors import ParseError, RemoteProtocolError
from dcsdk.interfaces import Address, AssociationEngine, Attributes, DatagramPath
from dcsdk.sdp.media import MediaDescription

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dcsdk.ice.sdp import IceDescription
    from dcsdk.io.capture import Capture
    from dcsdk.io.net.ice import IcePath
    from dcsdk.sdp.attributes import Attribute
    from dcsdk.sdp.session import SessionDescription

IceMode = Literal["off", "full", "lite"]


def _pairs(attributes: Iterable[Attribute]) -> Attributes:
    return tuple((attribute.name, attribute.value) for attribute in attributes)


class LinePath:
    """A path, what the SDP says of it, and what it makes of the peer's SDP.

    Args:
        path: carries the datagrams.
        ice: the same path when it runs ICE, else ``None``.
    """

    def __init__(self, path: DatagramPath, ice: IcePath | None = None) -> None:
        self.path = path
        self._ice = ice
        self._is_lite = False
        self._is_plain = ice is None

    @classmethod
    async def bind(
        cls,
        engine: AssociationEngine,
        host: str,
        mode: IceMode,
        *,
        capture: Capture | None = None,
    ) -> LinePath:
        """Bind a path on one local address.

        Args:
            engine: binds plain paths.
            host: a local address.
            mode: ``"off"`` for plain UDP.
            capture: gets what a path with ICE carries; plain paths know their engine's own.

        Raises:
            TransportError: the address cannot be bound.
        """
        if mode == "off":
            return cls(await engine.bind_path(host))
        # Only here: ICE's library takes long to import, and most clients do without.
        from dcsdk.ice.config import IceConfig
        from dcsdk.io.net.ice import IcePath

        config = IceConfig(is_lite=mode == "lite")
        path = IcePath.bind(host, config=config, capture=capture)
        line_path = cls(path, path)
        line_path._is_lite = mode == "lite"
        return line_path

    @property
    def runs_ice(self) -> bool:
        """ICE decides where datagrams go."""
        return self._ice is not None and not self._is_plain

    @property
    def is_controlling(self) -> bool:
        """ICE runs, and our side nominates the pair; a restart keeps the roles (RFC 8445 6.1.1)."""
        return self._ice is not None and not self._is_plain and self._ice.is_controlling

    def keeps_ice(self, media: MediaDescription, session: SessionDescription) -> bool:
        """Tell whether the peer's description goes on with the ICE session in force.

        It does not when it restarts ICE (RFC 8839 4.4.3) or leaves it, and when no ICE runs here.

        Args:
            media: the peer's media description.
            session: the description it stands in.

        Raises:
            RemoteProtocolError: an ICE attribute is malformed.
        """
        if self._ice is None or self._is_plain:
            return False
        remote, known = self._ice_in(media, session), self._ice.remote_description
        return remote is not None and (known is None or not remote.is_restart_of(known))

    def fork(self) -> LinePath:
        """Make a plain path on the same address, for another remote end.

        Raises:
            LocalProtocolError, TransportError: this path's address cannot be shared.
        """
        return LinePath(self.path.fork())

    @property
    def address(self) -> Address:
        """Our address in ``c=`` and ``m=``."""
        return self.path.local_address

    @property
    def attributes(self) -> Attributes:
        """What stands under the media line."""
        if self._ice is None or self._is_plain:
            return ()
        return _pairs(self._ice.local_description.media_attributes)

    @property
    def session_attributes(self) -> Attributes:
        """What stands before the first media line (RFC 8839 5.3)."""
        if self._ice is None or self._is_plain:
            return ()
        return _pairs(self._ice.local_description.session_attributes)

    def take_description(
        self,
        media: MediaDescription,
        session: SessionDescription,
        address: Address,
        *,
        is_offerer: bool,
    ) -> None:
        """Act on what the peer's offer or answer says of ICE.

        A peer without ICE, or two lite ends, leave plain UDP to the address in ``c=`` and ``m=``.

        Args:
            media: the peer's media description.
            session: the description it stands in.
            address: the peer's default address.
            is_offerer: our side made the first offer; it controls ICE (RFC 8445 6.1.1). On a path
                for an ICE restart: it controlled the path before.

        Raises:
            RemoteProtocolError: an ICE attribute is malformed.
        """
        ice = self._ice
        if ice is None or self._is_plain:
            return
        remote = self._ice_in(media, session)
        if remote is None:
            self._is_plain = True
            ice.use_without_ice(address)
            return
        is_first = ice.remote_description is None
        if ice.set_remote_description(remote) or is_first:
            ice.start(is_controlling=remote.is_lite or (is_offerer and not self._is_lite))

    def _ice_in(
        self, media: MediaDescription, session: SessionDescription
    ) -> IceDescription | None:
        """Read what the peer says of ICE; ``None`` when ICE is not to run with it."""
        from dcsdk.ice.sdp import IceDescription

        try:
            remote = IceDescription.parse(media.attributes, session.attributes)
        except ParseError as exc:
            raise RemoteProtocolError(str(exc), source=exc.source) from exc
        if remote is None or remote.is_mismatch or (remote.is_lite and self._is_lite):
            return None
        return remote

    def close(self) -> None:
        """Close the path. Closing twice is no error."""
        self.path.close()
