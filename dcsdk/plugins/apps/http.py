"""HTTP on a data channel: ``httpx2`` on the opener's side, a streaming server on the other.

TS 26.114 6.2.10.1 names ``http`` as the subprotocol of bootstrap channels; ``dcsdk.http`` says how
its bytes are mapped. Bodies stream in both directions, and nothing is read from the channel
before somebody wants it, so the SCTP window holds a fast sender back.
"""

from __future__ import annotations

from typing import Any, ClassVar

from dcsdk.http import APPLICATION_LIMITS, BOOTSTRAP_LIMITS, HttpLimits
from dcsdk.interfaces import AppProtocol
from dcsdk.plugins.apps.http_client import HttpChannel
from dcsdk.plugins.apps.http_server import HttpServerChannel

FIRST_APPLICATION_STREAM_ID = 1000
"""TS 24.186 9.3.2.2.2: lower ids are bootstrap channels or reserved."""


class HttpProtocol(AppProtocol[HttpChannel | HttpServerChannel]):
    """The application protocol ``http``."""

    subprotocol: ClassVar[str] = "http"

    def start(
        self,
        carrier: Any,
        agreed: Any = None,
        *,
        is_opener: bool,
        limits: HttpLimits | None = None,
    ) -> HttpChannel | HttpServerChannel:
        """Run HTTP on an open channel.

        Args:
            carrier: the :class:`dcsdk.datachannel.channel.DataChannel`.
            agreed: nothing: HTTP negotiates no attributes.
            is_opener: our side is the client. A UE is always the client on a bootstrap channel,
                whoever offered it (TS 23.228 AC.7.1).
            limits: by default by stream id: bootstrap channels are bounded, application channels
                carry bodies of any size.
        """
        if limits is None:
            is_application = carrier.stream_id >= FIRST_APPLICATION_STREAM_ID
            limits = APPLICATION_LIMITS if is_application else BOOTSTRAP_LIMITS
        if is_opener:
            return HttpChannel(carrier, limits=limits)
        return HttpServerChannel(carrier, limits=limits)
