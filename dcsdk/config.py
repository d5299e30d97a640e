"""Configuration: frozen dataclasses, read from TOML and keyword arguments.

A key that is not a field is refused by name, with the nearest field as a hint: a misspelt security
switch must not go unnoticed.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from dcsdk.errors import ConfigError, ParseError
from dcsdk.ims.profile import ImsProfile
from dcsdk.security import Secret
from dcsdk.sip.syntax.uri import SipUri

SipTransportName = Literal["udp", "tcp", "tls"]
MAX_CONFIG_BYTES = 1 << 20
MAX_NUMBER = 1e12
MAX_EXPIRES_S = 2**32 - 1


def _coerce(name: str, wanted: Any, value: Any) -> Any:
    """Turn one TOML value into what the field wants, or say what was expected."""
    origin = typing.get_origin(wanted)
    options = typing.get_args(wanted)
    if origin is types.UnionType or origin is typing.Union:
        if value is None and type(None) in options:
            return None
        concrete = [option for option in options if option is not type(None)]
        if callable(value) and any(typing.get_origin(o) is Callable for o in concrete):
            return value
        return _coerce(name, concrete[0], value)
    if origin is Literal:
        if value in options:
            return value
        raise ConfigError(f"{name} must be one of {', '.join(map(repr, options))}, not {value!r}")
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(
            _coerce(f"{name}[{index}]", options[0], item) for index, item in enumerate(value)
        )
    if origin is Mapping:
        if isinstance(value, Mapping):
            return dict(value)
        raise ConfigError(f"{name} must be a table")
    if wanted is Secret:
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            return Secret(value)
        raise ConfigError(f"{name} must be text")
    if wanted is Path and isinstance(value, str | Path):
        return Path(value)
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) < MAX_NUMBER:  # NaN too, which compares with nothing
            raise ConfigError(f"{name} must be a number below {MAX_NUMBER:g}")
        return float(value)
    if wanted is int and isinstance(value, bool):
        raise ConfigError(f"{name} must be a number, not {value!r}")
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        if isinstance(value, wanted):
            return value
        if isinstance(value, Mapping):
            return from_mapping(wanted, value, where=f"{name}.")
    elif isinstance(wanted, type) and isinstance(value, wanted):
        return value
    kind = getattr(wanted, "__name__", str(wanted))
    raise ConfigError(f"{name} must be {kind}, not {type(value).__name__}")


_T = TypeVar("_T")


def from_mapping(cls: type[_T], values: Mapping[str, Any], *, where: str = "") -> _T:
    """Make a configuration dataclass from a mapping.

    Args:
        cls: a dataclass whose fields are the legal keys.
        values: what a TOML file or a caller gave.
        where: put before a key's name in messages.

    Raises:
        ConfigError: an unknown key, a value of the wrong type, or a missing key.
    """
    hints = typing.get_type_hints(cls)
    fields = {item.name: item for item in dataclasses.fields(cls) if item.init}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {where}{near[0]}?" if near else ""
            raise ConfigError(f"unknown configuration key {where}{key}{hint}")
        arguments[key] = _coerce(where + key, hints[key], value)
    missing = [
        name
        for name, item in fields.items()
        if name not in arguments
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"missing configuration key {where}{missing[0]}")
    try:
        return cls(**arguments)
    except ConfigError as exc:
        if not where:
            raise
        raise ConfigError(f"{where.removesuffix('.')}: {exc}") from exc


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: the file cannot be read, is larger than 1 MiB, or is not TOML.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        if len(data) > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_CONFIG_BYTES} bytes")
        return tomllib.loads(data.decode())
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except ConfigError:
        raise
    except (ValueError, RecursionError) as exc:  # bad syntax, bad UTF-8, huge numbers, deep nesting
        raise ConfigError(f"{path} is not TOML: {exc}") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Everything a :class:`dcsdk.Client` can be told.

    Attributes:
        public_identity: the IMPU to register, for example ``sip:alice@ims.example``.
        password: of SIP Digest (TS 33.203 Annex N).
        private_identity: the IMPI; by default the public identity without its scheme.
        home_domain: by default the host of the public identity.
        pcscf_host: address or name of the P-CSCF.
        pcscf_port: its port.
        pcscf_transport: ``"tls"``; ``"udp"`` and ``"tcp"`` are for tests.
        pcscf_server_name: name the P-CSCF's certificate must carry, by default ``pcscf_host``.
        ca_file: PEM file of the authority that signed it, by default the system's authorities.
        local_host: local address for signalling and media, by default what the route gives.
        register_expires_s: lifetime to ask for, seconds.
        sip_timers: ``"rfc3261"`` or the longer ``"ims"`` ones (TS 24.229 7.7).
        register_timeout_s: bound on one registration, seconds.
        call_timeout_s: how long a call may ring, seconds.
        media_timeout_s: bound on DTLS and SCTP set-up of one association, seconds.
        request_timeout_s: how long a channel the peer asks for waits for the program, seconds;
            then it is refused.
        close_timeout_s: bound on closing a session, or the client with all of its sessions, as a
            whole, seconds; what the network has not answered then is given up.
        user_agent: text of ``User-Agent``.
        access_network_info: text of ``P-Access-Network-Info`` on protected signalling, or ``None``.
        dc_allowed: ``False`` refuses every data channel with port 0 (TS 24.275 ``DC_allowed``).
        allow_standalone_dc: sessions without speech (Rel-19; Rel-18 wants a speech line first).
        e2dce_tokens: send and read the experimental e2DCe tokens; nothing is standardised.
        allow_unprotected_signalling: trust fingerprints that came over unprotected SIP. Every
            report then says so.
        ice: ``"off"`` for plain UDP, as DCMTSI clients without NAT do; ``"full"``; ``"lite"``. A
            peer without ICE is talked to by plain UDP in any case (limit D7).
        accept_missing_tls_id: take peers without ``a=tls-id`` (WebRTC peers send none).
        certificates: one for the client's life, or one for each session.
        engine: name of the association engine plug-in.
        transport: settings of the data-channel transport by name, a table in TOML: those of
            :class:`dcsdk.io.secure.engine_config.EngineConfig`, with those of SCTP as ``sctp``.
        signalling: name of the signalling plug-in.
        list_provider: name of the application-list plug-in, ``"html"`` or ``"json_a"``.
        keylog: NSS key log file for TLS and DTLS; whoever has it can read everything.
        capture: pcapng file of this client's signalling and media with the TLS secrets inside;
            one file for each client, an old one is replaced. SIP messages stand in it in plain
            text as UDP packets between the addresses of the connection, whatever they went over;
            SCTP packets once inside DTLS, and once in plain text as if they were over IP.
            Whoever has it can read everything.
        profile: the choices the standards leave open.
    """

    public_identity: str
    password: Secret = field(default_factory=lambda: Secret(""))
    private_identity: str | None = None
    home_domain: str | None = None
    pcscf_host: str = "127.0.0.1"
    pcscf_port: int = 5061
    pcscf_transport: SipTransportName = "tls"
    pcscf_server_name: str | None = None
    ca_file: Path | None = None
    local_host: str | None = None
    register_expires_s: int = 600_000
    sip_timers: Literal["rfc3261", "ims"] = "rfc3261"
    register_timeout_s: float = 32.0
    call_timeout_s: float = 180.0
    media_timeout_s: float = 15.0
    request_timeout_s: float = 30.0
    close_timeout_s: float = 5.0
    user_agent: str = "dcsdk"
    access_network_info: str | None = "IEEE-802.11"
    dc_allowed: bool = True
    allow_standalone_dc: bool = False
    e2dce_tokens: bool = False
    allow_unprotected_signalling: bool = False
    ice: Literal["off", "full", "lite"] = "off"
    accept_missing_tls_id: bool = False
    certificates: Literal["per_client", "per_session"] = "per_client"
    engine: str = "native"
    transport: Mapping[str, Any] = field(default_factory=dict)
    signalling: str = "sip"
    list_provider: str = "html"
    keylog: Path | None = None
    capture: Path | None = None
    profile: ImsProfile = field(default_factory=ImsProfile)

    def __post_init__(self) -> None:
        scheme, _, rest = self.public_identity.partition(":")
        if scheme not in ("sip", "sips") or "@" not in rest:
            raise ConfigError(
                f"public_identity must look like sip:user@domain, not {self.public_identity!r}"
            )
        for name, uri in (
            ("public_identity", self.public_identity),
            ("home_domain", f"sip:{self.domain}"),
        ):
            try:
                SipUri.parse(uri)
            except ParseError as exc:
                raise ConfigError(f"{name} cannot be used: {exc}") from exc
        for name in ("private_identity", "user_agent", "access_network_info"):
            text = getattr(self, name)
            if text is not None and not text.isprintable():
                raise ConfigError(f"{name} holds a control character")
        if not 0 < self.pcscf_port < 65_536:
            raise ConfigError(f"pcscf_port must be 1..65535, not {self.pcscf_port}")
        for name in (
            "register_timeout_s",
            "call_timeout_s",
            "media_timeout_s",
            "request_timeout_s",
            "close_timeout_s",
        ):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be more than 0 seconds")
        if not 0 < self.register_expires_s <= MAX_EXPIRES_S:
            raise ConfigError(f"register_expires_s must be 1..{MAX_EXPIRES_S}")

    @property
    def impi(self) -> str:
        """The private identity in use (TS 23.228 4.3.3.1)."""
        return self.private_identity or self.public_identity.partition(":")[2]

    @property
    def domain(self) -> str:
        """The home domain in use."""
        return self.home_domain or self.public_identity.partition("@")[2]

    @classmethod
    def load(cls, path: str | Path, **overrides: Any) -> Self:
        """Read a TOML file; keyword arguments win over the file.

        Relative paths in the file are relative to the file.

        Raises:
            ConfigError: unreadable file, unknown key, or a value that cannot be.
        """
        values = read_toml(path)
        for key in ("ca_file", "keylog", "capture"):
            if isinstance(values.get(key), str):
                values[key] = Path(path).parent / values[key]
        return from_mapping(cls, {**values, **overrides})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked like a new one."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return from_mapping(type(self), {**values, **changes})
