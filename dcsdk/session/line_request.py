"""A whole media line that the other side asks for in a re-offer."""

from __future__ import annotations

from typing import Any

from dcsdk.io.request import PendingRequest
from dcsdk.session.line import MediaLine


class LineRequest(PendingRequest):
    """One new m-line of the peer's re-offer, to be accepted or refused.

    Attributes:
        kind: name of its medium.
    """

    def __init__(self, index: int, line: MediaLine) -> None:
        super().__init__(f"m-line {index}")
        self.kind = line.kind
        self._line = line

    async def accept(self) -> Any:
        """Take the line and wait until it is up.

        Returns:
            What the medium gives the program.

        Raises:
            ChannelClosed: decided before, or too late.
            CallRejected: the other side took its request back.
            SecurityError, TransportError, OperationTimeout: the line did not come up.
        """
        await self._accept()
        return self._line.media.app
