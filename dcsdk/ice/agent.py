"""The ICE agent: connectivity checks, nomination, consent and restarts, without I/O.

A full agent or a lite one, with host candidates of its own; what the peer sees of it is learned
from the checks (peer-reflexive). One component. STUN and TURN servers are not asked: a relayed or
server-reflexive address enters as one more candidate or base.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aioice.stun import Class, Message, Method

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.ice import stun
from dcsdk.ice.candidate import Address, Candidate, Entropy, IceCredentials
from dcsdk.ice.config import IceConfig
from dcsdk.ice.events import IceEvent, IceTransmit, PairSelected
from dcsdk.ice.generation import Generation, Shared
from dcsdk.ice.sdp import DEFAULT_OPTIONS, IceDescription

MAX_LOCAL_CANDIDATES = 32
TIE_BREAKER_BYTES = 8


class IceAgent:
    """One end of ICE for one media line.

    After any call that changes it, take all of ``poll_transmit`` and ``poll_event`` and set a
    timer for ``next_timer``.

    Args:
        config: of this agent.
        entropy: random bytes, like ``os.urandom``.

    Source: RFC 8445; RFC 8838 for candidates that come late; RFC 7675 for consent.
    """

    def __init__(self, config: IceConfig | None = None, *, entropy: Entropy) -> None:
        self._config = config or IceConfig()
        self._entropy = entropy
        tie_breaker = int.from_bytes(entropy(TIE_BREAKER_BYTES), "big")
        self._shared = Shared(config=self._config, entropy=entropy, tie_breaker=tie_breaker)
        self._candidates: list[Candidate] = []
        self._current = Generation(self._shared, IceCredentials.generate(entropy))
        self._next: Generation | None = None
        self._previous: Generation | None = None
        self._has_role = False

    # --- our side ---------------------------------------------------------------------------------
    def add_local_candidate(self, candidate: Candidate, *, base: Address | None = None) -> None:
        """Tell of an address of ours, before ``start``.

        Args:
            candidate: it becomes part of the description.
            base: where datagrams for it arrive, when that is another address: the socket behind a
                server-reflexive candidate, which is not checked for itself (RFC 8445 6.1.2.4).

        Raises:
            LocalProtocolError: the checks have begun, there are too many, or it is of no use.
        """
        address = candidate.address
        if self._current.is_started:
            raise LocalProtocolError("ICE has started", source="RFC 8445 5.1")
        if address is None or len(self._candidates) >= MAX_LOCAL_CANDIDATES:
            raise LocalProtocolError("too many local candidates, or one without an address")
        self._candidates.append(candidate)
        if base is None or base == address:
            self._shared.bases[address] = candidate

    @property
    def local_description(self) -> IceDescription:
        """What the peer must know, for an offer or an answer; that of a restart being prepared."""
        return IceDescription(
            credentials=(self._next or self._current).local,
            candidates=tuple(self._candidates),
            is_lite=self._config.is_lite,
            is_complete=True,
            options=DEFAULT_OPTIONS,
            pacing_ms=None if self._config.is_lite else round(self._config.pace_s * 1000),
            remote_candidates=self._remote_candidates(),
        )

    @property
    def remote_description(self) -> IceDescription | None:
        """What the peer said last, ``None`` before that and after ``restart``."""
        return self._current.remote

    @property
    def is_controlling(self) -> bool:
        """We nominate."""
        return self._shared.is_controlling

    @property
    def is_ended(self) -> bool:
        """No pair will be found any more, unless ICE is restarted."""
        return self._current.is_ended

    @property
    def selected(self) -> PairSelected | None:
        """The pair that data goes over, ``None`` when there is none."""
        for generation in (self._current, self._previous):
            if generation is not None and generation.selected is not None:
                return generation.selected_event()
        return None

    def is_validated(self, local: Address, remote: Address) -> bool:
        """Tell whether data from there may be taken: the peer's signature came the same way."""
        return self._current.is_validated(local, remote) or (
            self._previous is not None and self._previous.is_validated(local, remote)
        )

    def _remote_candidates(self) -> tuple[tuple[int, str, int], ...]:
        """Name the peer's candidate in use, once we nominated one (RFC 8839 4.4.1.2.2)."""
        pair = self._current.selected if self._next is None else None
        if pair is None or not self._shared.is_controlling or self._config.is_lite:
            return ()
        return ((pair.remote.component, *pair.remote_address),)

    # --- the peer's side --------------------------------------------------------------------------
    def needs_restart(self, description: IceDescription) -> bool:
        """Tell whether a description of the peer asks for an ICE restart (RFC 8839 4.4.3)."""
        known = self._current.remote
        return known is not None and description.is_restart_of(known)

    def set_remote_description(self, description: IceDescription, *, now: float) -> None:
        """Take the peer's offer or answer; one that says more than before is no other one.

        Raises:
            LocalProtocolError: it asks for a restart, and ``restart`` was not called.
        """
        if self.needs_restart(description):
            raise LocalProtocolError("the peer restarts ICE: restart first", source="RFC 8445 9")
        self._current.set_remote(description, now=now)
        self._drop_previous()

    def add_remote_candidates(self, candidates: Iterable[Candidate], *, now: float) -> None:
        """Take candidates that came after the description (RFC 8838 11).

        Raises:
            LocalProtocolError: there is no description yet.
        """
        if self._current.remote is None:
            raise LocalProtocolError("no description of the peer yet", source="RFC 8838 11")
        self._current.add_remote(candidates, now=now)

    # --- life -------------------------------------------------------------------------------------
    def start(self, *, is_controlling: bool, now: float) -> None:
        """Begin to check, as soon as the peer's description is there.

        Args:
            is_controlling: the offerer is, and so is a full agent whose peer is lite
                (RFC 8445 6.1.1), which is seen to here.
            now: s, monotonic.

        Raises:
            LocalProtocolError: no candidate was added.
        """
        if not self._shared.bases:
            raise LocalProtocolError("ICE needs a local candidate", source="RFC 8445 5.1")
        if not self._has_role:
            self._has_role = True
            self._shared.is_controlling = is_controlling
        self._current.start(now=now)
        self._drop_previous()

    def prepare_restart(self) -> None:
        """Make new credentials for an offer or an answer, which may come to nothing.

        Checks that use them are answered; nothing else changes until ``restart``.
        """
        if self._next is None:
            self._next = Generation(self._shared, IceCredentials.generate(self._entropy))

    def cancel_restart(self) -> None:
        """The offer or answer came to nothing: the credentials in force stay (RFC 8839 4.4)."""
        self._next = None

    def restart(self) -> None:
        """Go over to the new credentials and forget the peer's; then ``start`` again (RFC 8445 9).

        The selected pair stays in use until the checks have found one again.
        """
        if self._current.selected is not None:
            self._previous = self._current
        fresh = self._next or Generation(self._shared, IceCredentials.generate(self._entropy))
        self._current, self._next = fresh, None
        self._has_role = False

    # --- input ------------------------------------------------------------------------------------
    def receive(self, datagram: bytes, local: Address, remote: Address, *, now: float) -> None:
        """Take a datagram that looks like STUN. Whatever it holds, nothing is raised.

        Args:
            datagram: one.
            local: the address of ours that it came to, a base.
            remote: where it came from, in canonical form.
            now: s, monotonic.
        """
        try:
            message = stun.decode(datagram)
        except ParseError:
            self._shared.counters["stun_malformed"] += 1
            return
        if message.message_method is not Method.BINDING:
            self._shared.counters["stun_unexpected"] += 1
        elif message.message_class is Class.REQUEST:
            self._request_received(message, datagram, local, remote, now)
        elif message.message_class is not Class.INDICATION:  # which only keeps a NAT open
            self._answer_received(message, local, remote, now)
        self._drop_previous()

    def handle_timer(self, *, now: float) -> None:
        """Do what is due."""
        for generation in self._generations():
            generation.handle_timer(now=now)
        if self._previous is not None and self._previous.is_ended:
            self._previous = None
        self._drop_previous()

    def next_timer(self) -> float | None:
        """Return when ``handle_timer`` is to be called, ``None`` for never."""
        timers = [generation.next_timer() for generation in self._generations()]
        return min((timer for timer in timers if timer is not None), default=None)

    def poll_transmit(self) -> IceTransmit | None:
        """Return the next datagram to send."""
        transmits = self._shared.transmits
        return transmits.popleft() if transmits else None

    def poll_event(self) -> IceEvent | None:
        """Return the next event."""
        events = self._shared.events
        return events.popleft() if events else None

    def stats(self) -> Mapping[str, int]:
        """Counters: checks sent and received, what was refused or malformed, pairs."""
        return {
            **self._shared.counters,
            "pairs": self._current.pair_count,
            "candidates_ignored": self._current.candidates_ignored,
        }

    # --- inside -----------------------------------------------------------------------------------
    def _generations(self) -> tuple[Generation, ...]:
        everyone = (self._current, self._previous, self._next)
        return tuple(generation for generation in everyone if generation is not None)

    def _drop_previous(self) -> None:
        """Let the old generation go when the new one carries data (RFC 8445 9)."""
        if self._current.selected is not None:
            self._previous = None

    def _request_received(
        self, message: Message, datagram: bytes, local: Address, remote: Address, now: float
    ) -> None:
        shared = self._shared
        shared.counters["checks_received"] += 1
        username = message.attributes.get("USERNAME")
        if username is None or "MESSAGE-INTEGRITY" not in message.attributes:
            self._refuse(message, local, remote, stun.BAD_REQUEST)
            return
        generation = next((g for g in self._generations() if g.is_username(username)), None)
        if generation is None or not message.check_message_integrity(generation.local.key):
            self._refuse(message, local, remote, stun.UNAUTHENTICATED)
            return
        key = generation.local.key
        unknown = stun.unknown_attributes(datagram)
        if unknown:
            self._refuse(message, local, remote, stun.UNKNOWN_ATTRIBUTE, key=key, unknown=unknown)
            return
        if generation is self._current and not self._settle_roles(message):
            self._refuse(message, local, remote, stun.ROLE_CONFLICT, key=key)
            return
        data = stun.encode_success(message.transaction_id, remote, key)
        shared.transmits.append(IceTransmit(data=data, local=local, destination=remote))
        generation.check_received(message, local, remote, now=now)

    def _settle_roles(self, message: Message) -> bool:
        """Tell whether the request may stand when the peer has our role (RFC 8445 7.3.1.1)."""
        shared = self._shared
        name = "ICE-CONTROLLING" if shared.is_controlling else "ICE-CONTROLLED"
        theirs = message.attributes.get(name)
        if theirs is None or not self._has_role:
            return True
        # Who is lite cannot check, so cannot nominate either.
        we_control = shared.tie_breaker >= theirs and not self._config.is_lite
        if shared.is_controlling == we_control:
            return False
        shared.switch_role(is_controlling=we_control)
        return True

    def _refuse(
        self,
        message: Message,
        local: Address,
        remote: Address,
        code: int,
        *,
        key: bytes | None = None,
        unknown: tuple[int, ...] = (),
    ) -> None:
        self._shared.counters["checks_refused"] += 1
        data = stun.encode_error(message.transaction_id, code, key=key, unknown=unknown)
        self._shared.transmits.append(IceTransmit(data=data, local=local, destination=remote))

    def _answer_received(
        self, message: Message, local: Address, remote: Address, now: float
    ) -> None:
        for generation in self._generations():
            if generation.answer_received(message, local, remote, now=now):
                return
        self._shared.counters["answers_unexpected"] += 1
