"""Plug-ins: found through entry points, joined by name, refused when ambiguous or misspelt."""

from __future__ import annotations

import types
from collections.abc import Iterable

import pytest

from dcsdk import DataChannels, hookimpl
from dcsdk.errors import ConfigError
from dcsdk.interfaces import AppProtocol, ListProvider, MediaIntent
from dcsdk.plugins.security.dtls_sctp import DtlsSctpBackend
from dcsdk.registry import Registry


class Messages(MediaIntent):
    """A medium that nobody protects."""

    kind = "message"


class Chat(AppProtocol[object]):
    """A third party's protocol."""

    subprotocol = "chat.example"

    def start(self, carrier: object, agreed: object = None, *, is_opener: bool) -> object:
        return carrier


class OtherChat(Chat):
    """Claims the same name."""


def plugin(name: str, **hooks: object) -> types.ModuleType:
    module = types.ModuleType(name)
    for hook, function in hooks.items():
        setattr(module, hook, function)
    return module


def offering(*protocols: type[AppProtocol], name: str = "third_party") -> types.ModuleType:
    @hookimpl
    def dcsdk_app_protocols() -> Iterable[type[AppProtocol]]:
        return protocols

    return plugin(name, dcsdk_app_protocols=dcsdk_app_protocols)


def test_built_ins_come_through_the_entry_point_door() -> None:
    registry = Registry.load()
    assert "native" in registry.engines
    assert "sip" in registry.signallings
    assert "dtls_sctp" in registry.security_backends
    assert "http" in registry.app_protocols
    assert {"html", "json_a"} <= registry.list_providers.keys()
    assert not Registry.load(entry_points=False).engines


def test_a_third_party_protocol_stands_beside_the_built_ins() -> None:
    registry = Registry.load(plugins=[offering(Chat)])
    assert registry.app_protocols["chat.example"] is Chat
    assert "http" in registry.app_protocols


def test_one_name_offered_by_two_plug_ins_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"two plug-ins offer .*chat\.example"):
        Registry.load(plugins=[offering(Chat, name="one"), offering(OtherChat, name="two")])


def test_a_misspelt_hook_is_refused_at_start() -> None:
    @hookimpl
    def dcsdk_app_protocol() -> Iterable[type[AppProtocol]]:
        return []

    with pytest.raises(ConfigError, match="dcsdk_app_protocol"):
        Registry.load(plugins=[plugin("typo", dcsdk_app_protocol=dcsdk_app_protocol)])


def test_the_same_plug_in_twice_is_refused() -> None:
    module = offering(Chat)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        Registry.load(plugins=[module, module])


def test_a_class_without_a_name_is_refused() -> None:
    class Nameless(ListProvider):
        def list_target(self) -> str:
            return "/"

        def parse(self, status: int, content_type: str, body: bytes) -> list[object]:  # type: ignore[override]
            return []

    @hookimpl
    def dcsdk_list_providers() -> Iterable[type[ListProvider]]:
        return [Nameless]

    with pytest.raises(ConfigError, match="has no name"):
        Registry.load(plugins=[plugin("nameless", dcsdk_list_providers=dcsdk_list_providers)])


def test_picking_what_is_not_loaded_lists_what_is() -> None:
    registry = Registry.load()
    with pytest.raises(ConfigError, match=r"no engine called 'quic' is loaded \(loaded: .*native"):
        registry.pick("engine", registry.engines, "quic")


def test_the_built_in_policy_takes_the_first_backend_that_serves_the_line() -> None:
    registry = Registry.load()
    backend = DtlsSctpBackend()
    assert registry.select_security(DataChannels(), [backend]) is backend
    with pytest.raises(ConfigError, match="no security backend protects 'message'"):
        registry.select_security(Messages(), [backend])


def test_a_plug_in_may_choose_the_backend_before_the_built_in_policy() -> None:
    mine = DtlsSctpBackend()

    @hookimpl
    def dcsdk_select_security(intent: MediaIntent, candidates: list[object]) -> object:
        return mine

    registry = Registry.load(
        plugins=[plugin("chooser", dcsdk_select_security=dcsdk_select_security)]
    )
    assert registry.select_security(DataChannels(), [DtlsSctpBackend()]) is mine
