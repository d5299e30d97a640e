"""ICE candidates, as values and as the text of ``a=candidate``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

from aioice.candidate import candidate_foundation, candidate_priority

from dcsdk.errors import ConfigError, ParseError

Address = tuple[str, int]
"""An IP address as text (IPv6 without brackets, canonical) and a port."""

Entropy = Callable[[int], bytes]
"""Gives that many random bytes, like ``os.urandom``."""

COMPONENT = 1
"""The only component: RTCP shares the port of RTP, and a data channel has one port."""

MAX_CANDIDATE_CHARS = 1024
MAX_EXTENSIONS = 16
HIGHEST_PREFERENCE = 65_535
MAX_PRIORITY = 2**31 - 1
UFRAG_BYTES, PASSWORD_BYTES = 4, 16
"""At least 24 and 128 random bits are due (RFC 8445 5.3); both are written in base 16."""

_SOURCE = "RFC 8839 5.1"
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
"""Never a destination, as little as 240.0.0.0/4 and broadcast are (RFC 6890 2.2.2)."""
_TYPES = ("host", "srflx", "prflx", "relay")
_FOUNDATION = re.compile(r"[A-Za-z0-9+/]{1,32}")
_COMPONENT = re.compile(r"[0-9]{1,3}")
_PRIORITY = re.compile(r"[0-9]{1,10}")
_PORT = re.compile(r"[0-9]{1,5}")
_TOKEN = re.compile(r"[!#-'*+\-.0-9A-Z^_`a-z{|}~]+")
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_WORD = re.compile(r"[^\s\0]+")
_VISIBLE = re.compile(r"[!-~]+")


def canonical_address(host: str, port: int) -> Address | None:
    """Return an address so that two texts of one address compare equal.

    Returns:
        ``None`` when ``host`` is no IP address, or one of a zone, which means nothing elsewhere.
    """
    read = _read_host(host)
    return None if read is None else (read[1], port)


@lru_cache(maxsize=1024)
def _read_host(host: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, str] | None:
    """Read an address once: the few of a session are compared again and again."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return None if "%" in host else (address, str(address))


@dataclass(frozen=True, slots=True, kw_only=True)
class IceCredentials:
    """What signs the checks of one side, new at each ICE restart.

    Attributes:
        ufrag: 4..256 characters.
        password: 22..256 characters; not shown by ``repr``.

    Source: RFC 8839 5.4.
    """

    ufrag: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if _UFRAG.fullmatch(self.ufrag) is None:
            raise ParseError("expected 4 to 256 letters and digits in ice-ufrag", source="RFC 8839")
        if _PASSWORD.fullmatch(self.password) is None:
            raise ParseError("expected 22 to 256 letters and digits in ice-pwd", source="RFC 8839")

    @classmethod
    def generate(cls, entropy: Entropy) -> Self:
        """Make new ones from random bytes."""
        return cls(ufrag=entropy(UFRAG_BYTES).hex(), password=entropy(PASSWORD_BYTES).hex())

    @property
    def key(self) -> bytes:
        """What MESSAGE-INTEGRITY is computed with."""
        return self.password.encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A transport address at which one side may be reached.

    Attributes:
        foundation: 1..32 characters, the same for candidates of one kind, base and server.
        component: 1..256.
        transport: ``"UDP"`` or another name; case does not matter.
        priority: 1..2^31-1.
        host: an IP address, or a name, which is not looked up.
        port: 0..65535.
        type: ``"host"``, ``"srflx"``, ``"prflx"``, ``"relay"`` or a name unknown to us.
        related_address: the base of a reflexive candidate, or what stands for it.
        related_port: its port.
        extensions: pairs of name and value, for example ``("generation", "0")``.

    Source: RFC 8839 5.1.
    """

    foundation: str
    component: int = COMPONENT
    transport: str = "UDP"
    priority: int
    host: str
    port: int
    type: str = "host"
    related_address: str | None = None
    related_port: int | None = None
    extensions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def host_candidate(cls, address: Address, preference: int = HIGHEST_PREFERENCE) -> Self:
        """Make a candidate of an address of this host.

        Args:
            address: where a socket is bound.
            preference: 0..65535, higher is better (RFC 8445 5.1.2.1).

        Raises:
            ConfigError: no address a peer could send to.
        """
        read = _read_host(address[0])
        if read is None or read[0].is_unspecified:
            raise ConfigError(f"{address[0]!r} is no address a candidate can have")
        return cls(
            foundation=candidate_foundation("host", "udp", read[1]),
            priority=candidate_priority(COMPONENT, "host", preference),
            host=read[1],
            port=address[1],
        )

    @classmethod
    def peer_reflexive(cls, address: Address, priority: int, foundation: str) -> Self:
        """Make a candidate of an address that a check told us of (RFC 8445 7.2.5.3.1, 7.3.1.3)."""
        return cls(
            foundation=foundation, priority=priority, host=address[0], port=address[1], type="prflx"
        )

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read the text after ``a=candidate:``.

        Raises:
            ParseError: it does not follow the grammar. What follows it and is of no use to us, a
                TCP candidate or a host name, is no error.
        """
        if len(value) > MAX_CANDIDATE_CHARS:
            raise ParseError("a=candidate is too long", source=_SOURCE)
        words = value.split(" ")
        if len(words) < 8 or len(words) % 2 or any(_WORD.fullmatch(word) is None for word in words):
            raise ParseError("expected eight words in a=candidate, then pairs", source=_SOURCE)
        foundation, component, transport, priority, host, port, typ, kind = words[:8]
        if typ != "typ" or _TOKEN.fullmatch(kind) is None or _TOKEN.fullmatch(transport) is None:
            raise ParseError("expected a transport and 'typ' in a=candidate", source=_SOURCE)
        if _FOUNDATION.fullmatch(foundation) is None or _VISIBLE.fullmatch(host) is None:
            raise ParseError("bad foundation or address in a=candidate", source=_SOURCE)
        rest = list(zip(words[8::2], words[9::2], strict=True))
        related_address = related_port = None
        if rest and rest[0][0] == "raddr":
            related_address = rest.pop(0)[1]
        if rest and rest[0][0] == "rport":
            related_port = _number(_PORT, rest.pop(0)[1], 0, 65_535)
        if len(rest) > MAX_EXTENSIONS:
            raise ParseError("too many extensions in a=candidate", source=_SOURCE)
        return cls(
            foundation=foundation,
            component=_number(_COMPONENT, component, 1, 256),
            transport=transport,
            priority=_number(_PRIORITY, priority, 1, MAX_PRIORITY),
            host=host,
            port=_number(_PORT, port, 0, 65_535),
            type=kind,
            related_address=related_address,
            related_port=related_port,
            extensions=tuple(rest),
        )

    def __str__(self) -> str:
        words = [self.foundation, self.component, self.transport, self.priority]
        words += [self.host, self.port, "typ", self.type]
        if self.related_address is not None:
            words += ["raddr", self.related_address]
        if self.related_port is not None:
            words += ["rport", self.related_port]
        for name, value in self.extensions:
            words += [name, value]
        return " ".join(str(word) for word in words)

    @property
    def address(self) -> Address | None:
        """The address in canonical form, ``None`` for a host name."""
        return canonical_address(self.host, self.port)

    @property
    def preference(self) -> int:
        """The local preference inside the priority (RFC 8445 5.1.2.1)."""
        return (self.priority >> 8) & 0xFFFF

    def is_usable(self, base: Candidate, *, allow_loopback: bool = False) -> bool:
        """Tell whether checks can be sent there; a peer's other candidates are ignored.

        Args:
            base: of ours, which they would be sent from.
            allow_loopback: a loopback address may be reached from any base.
        """
        read, ours = _read_host(self.host), _read_host(base.host)
        if (
            read is None
            or ours is None
            or self.component != COMPONENT
            or self.transport.lower() != "udp"
            or self.type not in _TYPES
            or not self.port
        ):
            return False
        ip, from_ip = read[0], ours[0]
        if ip.is_unspecified or ip.is_multicast or getattr(ip, "ipv4_mapped", None) is not None:
            return False
        if ip.version == 4 and (ip.is_reserved or ip in _THIS_NETWORK):
            return False
        if ip.is_loopback:
            return allow_loopback or from_ip.is_loopback
        return from_ip.is_link_local or not ip.is_link_local


def reflexive_priority(preference: int) -> int:
    """Return the priority a peer-reflexive candidate of ours would have (RFC 8445 7.1.1)."""
    return candidate_priority(COMPONENT, "prflx", preference)


def _number(pattern: re.Pattern[str], text: str, low: int, high: int) -> int:
    if pattern.fullmatch(text) is None or not low <= int(text) <= high:
        raise ParseError(f"expected a number of {low} to {high} in a=candidate", source=_SOURCE)
    return int(text)
