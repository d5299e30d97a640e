"""The plug-ins dcsdk brings itself, offered through the same hooks as anyone else's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dcsdk.hookspecs import hookimpl
from dcsdk.interfaces import (
    AppProtocol,
    AssociationEngine,
    ListProvider,
    MediaIntent,
    MediaType,
    SecurityBackend,
    Signalling,
)
from dcsdk.plugins.apps.http import HttpProtocol
from dcsdk.plugins.engines.aiortc import AiortcEngine
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.plugins.lists.app_lists import HtmlListProvider, JsonAListProvider
from dcsdk.plugins.media.data_channel import DataChannelType
from dcsdk.plugins.security.dtls_sctp import DtlsSctpBackend
from dcsdk.plugins.signalling.sip import SipSignalling


@hookimpl
def dcsdk_security_backends() -> Iterable[type[SecurityBackend]]:
    """DTLS-SCTP with fingerprints (TS 33.328 7.2.X, 7.2.Y)."""
    return [DtlsSctpBackend]


@hookimpl
def dcsdk_app_protocols() -> Iterable[type[AppProtocol[Any]]]:
    """HTTP/1.1 on a channel (TS 26.114 6.2.10.1)."""
    return [HttpProtocol]


@hookimpl
def dcsdk_media_types() -> Iterable[type[MediaType]]:
    """Data channels (TS 26.114 6.2.10)."""
    return [DataChannelType]


@hookimpl
def dcsdk_engines() -> Iterable[type[AssociationEngine]]:
    """The native engine, and aiortc's where that is installed."""
    return [NativeEngine, AiortcEngine] if AiortcEngine.is_available() else [NativeEngine]


@hookimpl
def dcsdk_signallings() -> Iterable[type[Signalling]]:
    """SIP over UDP, TCP and TLS."""
    return [SipSignalling]


@hookimpl
def dcsdk_list_providers() -> Iterable[type[ListProvider]]:
    """The ``html`` and ``json_a`` flavours."""
    return [HtmlListProvider, JsonAListProvider]


@hookimpl(trylast=True)
def dcsdk_select_security(
    intent: MediaIntent, candidates: list[SecurityBackend]
) -> SecurityBackend | None:
    """Take the first backend that protects the medium."""
    for backend in candidates:
        if backend.media_kinds is None or intent.kind in backend.media_kinds:
            return backend
    return None
