"""The hooks a plug-in may implement.

Hooks are called at start-up or once per session, never per packet. They hand over classes. A
plug-in is a module or object with functions marked ``@dcsdk.hookimpl``, found through the entry
point group ``dcsdk``; what dcsdk brings itself comes through the same door.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from dcsdk.interfaces import (
        AppProtocol,
        AssociationEngine,
        ListProvider,
        MediaIntent,
        MediaType,
        SecurityBackend,
        Signalling,
    )

PROJECT_NAME = "dcsdk"
hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


@hookspec
def dcsdk_security_backends() -> Iterable[type[SecurityBackend]]:  # type: ignore[empty-body]
    """Offer security backends. Results are joined; one ``name`` twice is a ``ConfigError``."""


@hookspec
def dcsdk_app_protocols() -> Iterable[type[AppProtocol[Any]]]:  # type: ignore[empty-body]
    """Offer application protocols, keyed by RFC 8864 ``subprotocol``."""


@hookspec
def dcsdk_media_types() -> Iterable[type[MediaType]]:  # type: ignore[empty-body]
    """Offer media types. Results are joined; one ``name`` twice is a ``ConfigError``."""


@hookspec
def dcsdk_engines() -> Iterable[type[AssociationEngine]]:  # type: ignore[empty-body]
    """Offer association engines: SCTP over DTLS on a datagram path."""


@hookspec
def dcsdk_signallings() -> Iterable[type[Signalling]]:  # type: ignore[empty-body]
    """Offer ways to reach the network."""


@hookspec
def dcsdk_list_providers() -> Iterable[type[ListProvider]]:  # type: ignore[empty-body]
    """Offer readers of application-list flavours."""


@hookspec(firstresult=True)
def dcsdk_select_security(
    intent: MediaIntent, candidates: list[SecurityBackend]
) -> SecurityBackend | None:
    """Choose the backend for one media line; the built-in policy answers last."""
