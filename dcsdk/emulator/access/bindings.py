"""What the P-CSCF remembers of registered UEs: how to reach them, and what was agreed.

Source: TS 24.229 5.2.2; RFC 3327 (Path), RFC 5626 (flows).
"""

from __future__ import annotations

from dataclasses import dataclass

from dcsdk.ims.mediasec import SecurityMechanism
from dcsdk.io.sip.transport import Flow

MAX_BINDINGS = 65_536
"""Contacts registered through one P-CSCF; one more is refused with 503."""

MAX_NEGOTIATIONS = 65_536
"""REGISTERs that were challenged and not answered yet; the oldest are forgotten first."""


@dataclass(slots=True, kw_only=True)
class AccessBinding:
    """One contact registered through this P-CSCF.

    Attributes:
        token: names it in our Path and Record-Route URIs.
        contact: the Contact URI as text.
        flow: the connection the UE registered over, and the only way to it.
        identities: the public identities, the default one first.
        service_route: the route its initial requests must take.
        agreed: ``mediasec`` mechanisms that both sides have.
        expires_at: seconds on the loop's clock.
        reoffers: re-INVITEs seen, for fault D10.
    """

    token: str
    contact: str
    flow: Flow
    identities: tuple[str, ...]
    service_route: tuple[str, ...]
    agreed: frozenset[str]
    expires_at: float
    reoffers: int = 0


@dataclass(slots=True, kw_only=True)
class MechanismNegotiation:
    """The security lists of a registration under way, by its Call-ID.

    Attributes:
        client: Security-Client of the first REGISTER.
        is_challenged: the next REGISTER must repeat ``client`` and echo our list.
        was_refused: 494 was sent once for fault E3.
    """

    client: tuple[SecurityMechanism, ...] = ()
    is_challenged: bool = False
    was_refused: bool = False


class BindingTable:
    """All bindings of one P-CSCF, found by token, by contact and by flow."""

    PURGE_INTERVAL_S = 60.0

    def __init__(self) -> None:
        self._by_token: dict[str, AccessBinding] = {}
        self._by_contact: dict[tuple[str, str], str] = {}
        self._by_flow: dict[Flow, set[str]] = {}
        self._by_identity: dict[str, dict[str, None]] = {}
        self._purged_at = 0.0

    def __len__(self) -> int:
        return len(self._by_token)

    def by_token(self, token: str, *, now: float) -> AccessBinding | None:
        """Find a binding that has not expired."""
        binding = self._by_token.get(token)
        return binding if binding is not None and binding.expires_at > now else None

    def token_of(self, identity: str, contact: str) -> str | None:
        """Find the token of one identity's contact, expired or not."""
        return self._by_contact.get((identity, contact))

    def by_flow(self, flow: Flow, *, now: float) -> list[AccessBinding]:
        """Find the bindings that were last registered over a flow."""
        bindings = (self._by_token[token] for token in self._by_flow.get(flow, ()))
        return [binding for binding in bindings if binding.expires_at > now]

    def reachable(self, token: str, *, now: float) -> AccessBinding | None:
        """Find the way to the UE of a token: its binding, or the user's newest one that works.

        A UE that had to connect again registers a new contact, and keeps its dialogs.
        """
        binding = self.by_token(token, now=now)
        if binding is None or not binding.flow.is_closed:
            return binding
        others = (self._by_token[item] for item in self._by_identity[binding.identities[0]])
        alive = [item for item in others if item.expires_at > now and not item.flow.is_closed]
        return alive[-1] if alive else binding

    def add(self, binding: AccessBinding, *, now: float) -> bool:
        """Add a binding, or replace the one of its token; ``False`` when there is no room."""
        self._purge(now)
        self.remove(binding.token)
        if len(self._by_token) >= MAX_BINDINGS:
            return False
        self._by_token[binding.token] = binding
        for identity in binding.identities:
            self._by_contact[identity, binding.contact] = binding.token
            self._by_identity.setdefault(identity, {})[binding.token] = None
        self._by_flow.setdefault(binding.flow, set()).add(binding.token)
        return True

    def remove(self, token: str) -> None:
        """Remove a binding; no error when there is none."""
        binding = self._by_token.pop(token, None)
        if binding is None:
            return
        for identity in binding.identities:
            self._by_contact.pop((identity, binding.contact), None)
            tokens_of_identity = self._by_identity[identity]
            del tokens_of_identity[token]
            if not tokens_of_identity:
                del self._by_identity[identity]
        tokens = self._by_flow.get(binding.flow, set())
        tokens.discard(token)
        if not tokens:
            self._by_flow.pop(binding.flow, None)

    def _purge(self, now: float) -> None:
        """Remove what has expired, now and then."""
        if now < self._purged_at + self.PURGE_INTERVAL_S and len(self._by_token) < MAX_BINDINGS:
            return
        self._purged_at = now
        for token in [t for t, b in self._by_token.items() if b.expires_at <= now]:
            self.remove(token)
