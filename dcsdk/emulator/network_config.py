"""What the emulated network can be told."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from dcsdk.config import from_mapping, read_toml
from dcsdk.emulator.lab.faults import check_faults
from dcsdk.emulator.lab.trace import DEFAULT_CAPACITY
from dcsdk.errors import ConfigError
from dcsdk.ims.profile import ImsProfile
from dcsdk.security import Secret
from dcsdk.sip.syntax.uri import SipUri

DEMO_DOMAIN = "ims.example"
DEMO_USERS = ("alice", "bob")
DEMO_PASSWORD_SUFFIX = "-secret"  # noqa: S105 - of users that exist in an emulator only


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberConfig:
    """One subscriber.

    Attributes:
        name: user part of the default public identity, ``sip:<name>@<home_domain>``.
        password: of SIP Digest.
        aliases: further public identities, registered together with the default one.
        dc_allowed: data channels are in the subscription.
    """

    name: str
    password: Secret
    aliases: tuple[str, ...] = ()
    dc_allowed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Everything a :class:`dcsdk.emulator.Network` can be told. A port 0 takes a free one.

    Attributes:
        home_domain: the domain of the subscribers, and the Digest realm.
        host: IP address that everything listens on; no wildcard, since it stands in SIP URIs.
        media_host: IP address of the DCMF's media, by default ``host``.
        udp_port: where the P-CSCF takes SIP over UDP, ``None`` for nowhere.
        tcp_port: the same over TCP.
        tls_port: the same over TLS.
        subscribers: who may register.
        data_channels: the network supports data channels (``g.3gpp.datachannel``).
        e2dce_tokens: register e2DCe and act on its indications; nothing is standardised.
        unknown_app: what the DCSF does with an application that is not in the repository, or that
            has no name: ``"P2P"`` lets it pass to the other UE, ``"REJECT"`` refuses it.
        apps: folder of the application repository, by default the samples that come along.
        folder: where the authority's certificate and keys go, by default a temporary one.
        database: SQLite file of the HSS, by default in memory.
        sip_timers: ``"rfc3261"`` or the longer ``"ims"`` ones (TS 24.229 7.7).
        min_expires_s: shorter registrations get 423.
        max_expires_s: longer ones are shortened.
        engine: name of the association engine plug-in that the DCMF uses.
        faults: names of ``dcsdk.emulator.lab.faults.FAULTS``.
        trace_capacity: messages the trace keeps.
        keylog: NSS key log of the network's TLS and DTLS; who has it can read everything.
        profile: the choices the standards leave open.
    """

    home_domain: str = DEMO_DOMAIN
    host: str = "127.0.0.1"
    media_host: str | None = None
    udp_port: int | None = 0
    tcp_port: int | None = 0
    tls_port: int | None = 0
    subscribers: tuple[SubscriberConfig, ...] = ()
    data_channels: bool = True
    e2dce_tokens: bool = False
    unknown_app: Literal["P2P", "REJECT"] = "P2P"
    apps: Path | None = None
    folder: Path | None = None
    database: Path | None = None
    sip_timers: Literal["rfc3261", "ims"] = "rfc3261"
    min_expires_s: int = 60
    max_expires_s: int = 600_000
    engine: str = "native"
    faults: tuple[str, ...] = ()
    trace_capacity: int = DEFAULT_CAPACITY
    keylog: Path | None = None
    profile: ImsProfile = field(default_factory=ImsProfile)

    def __post_init__(self) -> None:
        for name in ("host", "media_host"):
            value = getattr(self, name)
            if value is not None:
                _check_address(name, value)
        for name in ("udp_port", "tcp_port", "tls_port"):
            port = getattr(self, name)
            if port is not None and not 0 <= port <= 65_535:
                raise ConfigError(f"{name} must be 0..65535, not {port}")
        if self.udp_port is None and self.tcp_port is None and self.tls_port is None:
            raise ConfigError("one of udp_port, tcp_port and tls_port must be given")
        if not 0 < self.min_expires_s <= self.max_expires_s:
            raise ConfigError("min_expires_s must be 1..max_expires_s")
        if self.trace_capacity <= 0:
            raise ConfigError("trace_capacity must be more than 0")
        names = [subscriber.name for subscriber in self.subscribers]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two subscribers are called {name!r}")
            try:
                SipUri.parse(f"sip:{name}@{self.home_domain}")
            except ValueError as exc:
                raise ConfigError(f"{name!r} at {self.home_domain!r}: {exc}") from exc
        check_faults(self.faults)

    @classmethod
    def demo(cls, **overrides: Any) -> Self:
        """The network of the demonstration: alice and bob, e2DCe tokens on, any free port.

        Raises:
            ConfigError: an unknown key, or a value that cannot be.
        """
        return from_mapping(cls, {**_demo_values(), **overrides})

    @staticmethod
    def served() -> dict[str, Any]:
        """The demonstration network on fixed ports, as values that a TOML file may override."""
        return {**_demo_values(), "udp_port": 5060, "tcp_port": 5060, "tls_port": 5061}

    @classmethod
    def load(cls, path: str | Path, **overrides: Any) -> Self:
        """Read a TOML file; keyword arguments win over the file.

        Raises:
            ConfigError: unreadable file, unknown key, or a value that cannot be.
        """
        return from_mapping(cls, {**read_toml(path), **overrides})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked like a new one."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return from_mapping(type(self), {**values, **changes})


def _demo_values() -> dict[str, Any]:
    users: tuple[Mapping[str, Any], ...] = tuple(
        {"name": name, "password": name + DEMO_PASSWORD_SUFFIX} for name in DEMO_USERS
    )
    return {"subscribers": users, "e2dce_tokens": True}


def _check_address(name: str, value: str) -> None:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise ConfigError(f"{name} must be an IP address, not {value!r}") from None
    if address.is_unspecified or address.is_multicast:
        raise ConfigError(f"{name} must be the address of this machine, not {value}")
