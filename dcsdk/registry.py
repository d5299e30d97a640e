"""Finds plug-ins and keeps what they offer, by name.

There is no global plug-in manager: every client, emulated network and test has its own registry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pluggy

from dcsdk import hookspecs
from dcsdk.errors import ConfigError

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

ENTRY_POINT_GROUP = "dcsdk"


def _by_name(kind: str, key: str, offers: Iterable[Iterable[Any]]) -> Mapping[str, Any]:
    """Join what all plug-ins offer; one name offered by two classes is an error."""
    found: dict[str, Any] = {}
    for offer in offers:
        for item in offer:
            name = getattr(item, key, None)
            if not isinstance(name, str):
                raise ConfigError(f"the {kind} {item!r} has no {key}")
            if name in found and found[name] is not item:
                raise ConfigError(
                    f"two plug-ins offer the {kind} {name!r}: "
                    f"{found[name].__module__} and {item.__module__}"
                )
            found[name] = item
    return MappingProxyType(found)


class Registry:
    """What is loaded. Make one with :meth:`load`.

    Attributes:
        security_backends: name to class.
        app_protocols: RFC 8864 subprotocol to class.
        media_types: name to class.
        engines: name to class.
        signallings: name to class.
        list_providers: name to class.
    """

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self._hook = manager.hook
        hook = manager.hook
        self.security_backends: Mapping[str, type[SecurityBackend]] = _by_name(
            "security backend", "name", hook.dcsdk_security_backends()
        )
        self.app_protocols: Mapping[str, type[AppProtocol[Any]]] = _by_name(
            "application protocol", "subprotocol", hook.dcsdk_app_protocols()
        )
        self.media_types: Mapping[str, type[MediaType]] = _by_name(
            "media type", "name", hook.dcsdk_media_types()
        )
        self.engines: Mapping[str, type[AssociationEngine]] = _by_name(
            "association engine", "name", hook.dcsdk_engines()
        )
        self.signallings: Mapping[str, type[Signalling]] = _by_name(
            "signalling", "name", hook.dcsdk_signallings()
        )
        self.list_providers: Mapping[str, type[ListProvider]] = _by_name(
            "application-list provider", "name", hook.dcsdk_list_providers()
        )

    @classmethod
    def load(cls, *, plugins: Iterable[object] = (), entry_points: bool = True) -> Registry:
        """Load plug-ins and check them.

        Args:
            plugins: modules or objects to register beside the installed ones.
            entry_points: load what the ``dcsdk`` entry point group names, built-ins included.

        Raises:
            ConfigError: a misspelt hook, a name offered twice, or a plug-in that does not import.
        """
        manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        manager.add_hookspecs(hookspecs)
        try:
            if entry_points:
                manager.load_setuptools_entrypoints(ENTRY_POINT_GROUP)
            for plugin in plugins:
                manager.register(plugin)
            manager.check_pending()
        except (pluggy.PluginValidationError, ImportError, ValueError) as exc:
            raise ConfigError(f"a plug-in cannot be loaded: {exc}") from exc
        return cls(manager)

    def pick(self, kind: str, available: Mapping[str, type[Any]], name: str) -> type[Any]:
        """Return the class called ``name``.

        Raises:
            ConfigError: nothing of that name is loaded; the message lists what is.
        """
        try:
            return available[name]
        except KeyError:
            known = ", ".join(sorted(available)) or "none"
            raise ConfigError(f"no {kind} called {name!r} is loaded (loaded: {known})") from None

    def select_security(
        self, intent: MediaIntent, candidates: list[SecurityBackend]
    ) -> SecurityBackend:
        """Ask the plug-ins which backend protects one media line.

        Raises:
            ConfigError: nobody chose one.
        """
        chosen: SecurityBackend | None = self._hook.dcsdk_select_security(
            intent=intent, candidates=candidates
        )
        if chosen is None:
            raise ConfigError(f"no security backend protects {intent.kind!r} media")
        return chosen
