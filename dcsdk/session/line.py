"""One m-line of one dialog: its place, its state, its backend's half and its medium's half."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from dcsdk.errors import TransportError
from dcsdk.interfaces.media import LineMedia, MediaIntent, MediaType
from dcsdk.interfaces.security import SecurityBackend, SecurityContext
from dcsdk.interfaces.transports import SecureTransport
from dcsdk.sdp.media import MediaDescription
from dcsdk.security import SecurityReport, SecurityScope

if TYPE_CHECKING:
    from dcsdk.interfaces.paths import Address
    from dcsdk.session.transport_group import TransportGroup

logger = logging.getLogger(__name__)


class LineState(Enum):
    """Where a line is in its life."""

    NEW = auto()
    """Made, perhaps offered, not agreed."""
    UP = auto()
    """Offer and answer are through: it has a transport."""
    ENDED = auto()
    """Refused, removed or lost: its port is 0 from now on."""


class MediaLine:
    """What the session keeps of one line. It knows no medium and no mechanism.

    Args:
        intent: what our side wants of it.
        medium: its medium.
        media: the medium's half.
        backend: protects it.
        context: what the backend may know.
        wanted: the scope that our offer asks for.

    Attributes:
        state: where it is in its life.
        group: what it runs on, once agreed.
        description: as we wrote it last, or ``None``.
        wanted: the scope that our offer asks for.
    """

    def __init__(
        self,
        intent: MediaIntent,
        medium: MediaType,
        media: LineMedia[Any],
        backend: SecurityBackend,
        context: SecurityContext,
        wanted: SecurityScope,
    ) -> None:
        self.intent = intent
        self.medium = medium
        self.media = media
        self.backend = backend
        self.wanted = wanted
        self.state = LineState.NEW
        self.group: TransportGroup | None = None
        self.description: MediaDescription | None = None
        self._transport: SecureTransport | None = None
        self._context = context

    @property
    def kind(self) -> str:
        """Name of its medium."""
        return self.media.kind

    @property
    def is_up(self) -> bool:
        """It is agreed and has not ended."""
        return self.state is LineState.UP

    @property
    def is_ended(self) -> bool:
        """Its port is 0 from now on."""
        return self.state is LineState.ENDED

    @property
    def report(self) -> SecurityReport:
        """What protects the line.

        Raises:
            TransportError: it is not agreed.
        """
        return self._require_group().report

    @property
    def transport(self) -> SecureTransport:
        """What the line runs on.

        Raises:
            TransportError: it is not agreed.
        """
        if self._transport is None:
            raise TransportError("the line is not agreed")
        return self._transport

    def require_up(self) -> None:
        """Refuse to change a line that ended while its turn to negotiate had not come.

        Raises:
            TransportError: it is not up.
        """
        if not self.is_up:
            raise TransportError("the line has ended")

    def takes(self, offer: MediaDescription) -> bool:
        """Tell whether an offered description is of the medium of this line."""
        return self.medium.matches(offer)

    def _require_group(self) -> TransportGroup:
        if self.group is None:
            raise TransportError("the line is not agreed")
        return self.group

    def context_at(self, address: Address) -> SecurityContext:
        """Return what the backend may know when the line runs at ``address``."""
        return dataclasses.replace(self._context, local_address=address)

    def join(self, group: TransportGroup) -> SecureTransport:
        """The line is agreed, and runs on ``group`` from now on; return its transport."""
        self.group, self.state = group, LineState.UP
        group.join()
        self._transport = self.backend.attach(group.agreement.parameters, group.transport)
        return self._transport

    def end(self) -> None:
        """Nothing is negotiated on the line any more; ``aclose`` follows."""
        self.state = LineState.ENDED

    async def aclose(self, timeout_s: float) -> None:
        """End what runs on the line, then its part in the group. Idempotent and bounded."""
        self.end()
        group, self.group = self.group, None
        try:
            await self.media.aclose(timeout_s)
        finally:
            if group is not None:
                await group.leave(timeout_s)


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A media line that this side never takes part in, or that ended."""

    description: MediaDescription

    @classmethod
    def of(cls, media: MediaDescription) -> RefusedLine:
        """Refuse an offered line with port 0 (RFC 3264 6)."""
        return cls(media.rejected())
