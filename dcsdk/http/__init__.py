"""HTTP/1.1 over a data channel, without I/O (TS 26.114 6.2.10.1, RFC 9112)."""

from __future__ import annotations

from dcsdk.http.client import HttpClientFraming
from dcsdk.http.limits import APPLICATION_LIMITS, BOOTSTRAP_LIMITS, HttpLimits
from dcsdk.http.messages import (
    BodyReceived,
    HeaderList,
    MessageEnded,
    RequestReceived,
    ResponseReceived,
)
from dcsdk.http.server import HttpServerFraming

__all__ = [
    "APPLICATION_LIMITS",
    "BOOTSTRAP_LIMITS",
    "BodyReceived",
    "HeaderList",
    "HttpClientFraming",
    "HttpLimits",
    "HttpServerFraming",
    "MessageEnded",
    "RequestReceived",
    "ResponseReceived",
]
