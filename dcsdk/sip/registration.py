"""Registration of one contact of one public identity, kept fresh until it is removed.

The machine performs no I/O. It makes REGISTER requests without Via; its owner sends each in a
transaction and hands the final response, or the failure, back.

Source: RFC 3261 10.2; TS 24.229 5.1.1.2 (initial), 5.1.1.4 (refresh), 5.1.1.6 (removal);
TS 33.203 Annex N (SIP Digest); RFC 3329 and TS 24.229 7.2A.7 (``mediasec``, profile A).
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

from dcsdk.errors import DcsdkError, LocalProtocolError, ParseError, RegistrationFailed
from dcsdk.ims.feature_tags import FeatureCaps, format_feature
from dcsdk.ims.mediasec import SecurityMechanism, format_list, parse_list, signalling_mechanisms
from dcsdk.sip.digest import DigestClient
from dcsdk.sip.registration_values import (
    MAX_EXPIRES_S,
    Deregistered,
    Granted,
    Lost,
    Refused,
    RegistrationEvent,
    RegistrationSettings,
    delta_seconds,
    refresh_after_s,
    registration_failure,
)
from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.identifiers import Entropy, new_call_id, new_tag, random_between
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import SipUri, parse_uri
from dcsdk.sip.transactions.client_transaction import MAX_FORWARDS
from dcsdk.sip.transactions.timers import TimerSet

MAX_CHALLENGES_IN_A_ROW = 2
"""Challenges answered without success before the attempt ends (TS 24.229 5.1.1.5)."""

MAX_ROUNDS = 8
"""REGISTER requests of one attempt, whatever the reason for the next."""

RETRY_MAX_S = 1800.0
"""RFC 5626 4.5 max-time."""

RETRIED_STATUSES = frozenset({408, 480, 500, 502, 503, 504})
"""Answers to a refresh that leave the registration standing: try again before it expires."""


class RegistrationState(Enum):
    """What the machine is doing."""

    IDLE, REGISTERING, REGISTERED = auto(), auto(), auto()
    REFRESHING, DEREGISTERING, ENDED = auto(), auto(), auto()


_IN_FLIGHT = frozenset(
    {
        RegistrationState.REGISTERING,
        RegistrationState.REFRESHING,
        RegistrationState.DEREGISTERING,
    }
)


class RegistrationMachine:
    """Registers, refreshes and removes one contact. At most one REGISTER is under way.

    Args:
        settings: see there.
        entropy: random bytes.
    """

    def __init__(self, settings: RegistrationSettings, *, entropy: Entropy) -> None:
        if not 0 < settings.expires_s <= MAX_EXPIRES_S:
            raise LocalProtocolError(f"expires_s {settings.expires_s} is outside 1..2^32-1")
        self.settings = settings
        self.state = RegistrationState.IDLE
        self._entropy = entropy
        self._digest = DigestClient(
            settings.private_identity, settings.password, algorithms=settings.algorithms
        )
        self._uri = SipUri(host=settings.home_domain)
        self._contact_uri = parse_uri(settings.contact)
        self._call_id = new_call_id(entropy)
        self._from_tag = new_tag(entropy)
        self._cseq = 0
        self._expires_s = settings.expires_s
        self._server_list: tuple[SecurityMechanism, ...] = ()
        self._is_verify_wanted = bool(settings.security_client)
        self._is_sec_agree = bool(signalling_mechanisms(settings.security_client))
        self._challenges = self._rounds = self._failures = 0
        self._wants_refresh = self._wants_removal = False
        self._timers = TimerSet()
        self._transmits: deque[Request] = deque()
        self._events: deque[RegistrationEvent] = deque()

    @property
    def security_verify(self) -> tuple[SecurityMechanism, ...]:
        """What other requests echo in ``Security-Verify``: only when signalling was agreed.

        Source: RFC 3329 2.3.1; profile A leaves ``mediasec`` out of INVITE.
        """
        return self._server_list if self._is_sec_agree else ()

    # --- what the owner asks ---------------------------------------------------------------------
    def register(self, *, now: float) -> None:
        """Send the first REGISTER.

        Raises:
            LocalProtocolError: registering or registered already.
        """
        if self.state not in (RegistrationState.IDLE, RegistrationState.ENDED):
            raise LocalProtocolError(f"register while {self.state.name.lower()}")
        self._wants_removal = self._wants_refresh = False
        self._begin(RegistrationState.REGISTERING)

    def refresh(self, *, now: float) -> None:
        """Refresh now, for example since the connection is new or capabilities changed."""
        if self.state is RegistrationState.REGISTERED:
            self._timers.stop("refresh")
            self._begin(RegistrationState.REFRESHING)
        elif self.state in _IN_FLIGHT:
            self._wants_refresh = True

    def deregister(self, *, now: float) -> None:
        """Remove the binding, after the REGISTER under way if there is one."""
        if self.state is RegistrationState.REGISTERED:
            self._timers.clear()
            self._begin(RegistrationState.DEREGISTERING)
        elif self.state in (RegistrationState.REGISTERING, RegistrationState.REFRESHING):
            self._wants_removal = True
        elif self.state in (RegistrationState.IDLE, RegistrationState.ENDED):
            self.state = RegistrationState.ENDED
            self._events.append(Deregistered(None))

    def move_contact(self, contact: str) -> None:
        """Be reached at another URI from the next REGISTER on: the connection was replaced."""
        self._contact_uri = parse_uri(contact)

    # --- what came of a REGISTER -----------------------------------------------------------------
    def receive(self, response: Response, *, now: float) -> None:
        """Take a response to the REGISTER sent last; provisional ones say nothing."""
        if response.status < 200 or self.state not in _IN_FLIGHT:
            return
        try:
            if 200 <= response.status < 300:
                self._receive_success(response, now)
            elif not self._try_again(response):
                self._fail(
                    registration_failure(response),
                    now,
                    is_retried=response.status in RETRIED_STATUSES,
                )
        except DcsdkError as exc:
            error = RegistrationFailed(
                f"REGISTER got a {response.status} that cannot be used: {exc}",
                status=response.status,
            )
            error.__cause__ = exc
            self._fail(error, now, is_retried=False)

    def fail(self, error: DcsdkError, *, now: float) -> None:
        """The REGISTER sent last got no answer: time-out, or no connection."""
        if self.state in _IN_FLIGHT:
            self._fail(error, now, is_retried=True)

    # --- timers and output -----------------------------------------------------------------------
    def handle_timer(self, *, now: float) -> None:
        """Do what is due."""
        while (name := self._timers.pop_due(now)) is not None:
            if name == "refresh":
                self.refresh(now=now)
            else:
                self._end(
                    Lost(
                        RegistrationFailed(
                            "the registration expired before a refresh succeeded",
                            source="TS 24.229 5.1.1.4",
                        )
                    )
                )

    def next_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called."""
        return self._timers.next()

    def poll_transmit(self) -> Request | None:
        """The next REGISTER to send, or ``None``."""
        return self._transmits.popleft() if self._transmits else None

    def poll_event(self) -> RegistrationEvent | None:
        """The next event, or ``None``."""
        return self._events.popleft() if self._events else None

    # --- making a REGISTER -----------------------------------------------------------------------
    def _begin(self, state: RegistrationState) -> None:
        self.state = state
        self._challenges = self._rounds = 0
        uri = str(self._uri)
        authorization = self._digest.reauthorize(
            method="REGISTER", uri=uri, cnonce=new_tag(self._entropy)
        )
        self._send(authorization or self._digest.initial(self.settings.home_domain, uri))

    def _send(self, authorization: str) -> None:
        self._cseq += 1
        self._rounds += 1
        settings = self.settings
        headers = Headers([("Max-Forwards", MAX_FORWARDS)])
        headers.add("From", f"<{settings.public_identity}>;tag={self._from_tag}")
        headers.add("To", f"<{settings.public_identity}>")
        headers.add("Call-ID", self._call_id)
        headers.add("CSeq", f"{self._cseq} REGISTER")
        headers.add("Contact", self._contact())
        headers.add("Authorization", authorization)
        headers.add("Supported", "path")
        if settings.security_client:
            headers.add("Security-Client", format_list(settings.security_client))
        if self._is_sec_agree:
            headers.add("Require", "sec-agree")
            headers.add("Proxy-Require", "sec-agree")
        if self._server_list and self._is_verify_wanted:
            headers.add("Security-Verify", format_list(self._server_list))
        if settings.access_network_info is not None:
            headers.add("P-Access-Network-Info", settings.access_network_info)
        if settings.user_agent:
            headers.add("User-Agent", settings.user_agent)
        self._transmits.append(Request(method="REGISTER", uri=self._uri, headers=headers))

    def _contact(self) -> str:
        features = [
            f";{format_feature(name, value)}"
            for name, value in self.settings.contact_features.items()
        ]
        is_removal = self.state is RegistrationState.DEREGISTERING
        expires = 0 if is_removal else self._expires_s
        return f"<{self._contact_uri}>{''.join(features)};expires={expires}"

    # --- reading the answer ----------------------------------------------------------------------
    def _try_again(self, response: Response) -> bool:
        """Send the next REGISTER if the refusal says how; ``False`` when it is final."""
        if self._rounds >= MAX_ROUNDS:
            return False
        status = response.status
        if status == 401:
            return self._answer_challenge(response)
        if status == 423:
            return self._raise_expires(response)
        if status in (421, 494):
            return self._agree_on_security(response)
        return False

    def _answer_challenge(self, response: Response) -> bool:
        if self._challenges >= MAX_CHALLENGES_IN_A_ROW:
            return False
        self._challenges += 1
        self._take_security_server(response)
        self._send(
            self._digest.authorize(
                response.headers.get_all("WWW-Authenticate"),
                method="REGISTER",
                uri=str(self._uri),
                cnonce=new_tag(self._entropy),
            )
        )
        return True

    def _raise_expires(self, response: Response) -> bool:
        """RFC 3261 10.2.8: ask for at least Min-Expires."""
        wanted = delta_seconds(response.headers.get("Min-Expires"))
        if wanted is None or wanted <= self._expires_s:
            return False
        self._expires_s = wanted
        self._resend()
        return True

    def _agree_on_security(self, response: Response) -> bool:
        """After 494 or 421, echo the list that came (RFC 3329 2.3.1; 2.3.2 for 421)."""
        before = self._server_list, self._is_verify_wanted, self._is_sec_agree
        self._take_security_server(response)
        if not response.headers.get_list("Security-Server"):
            return False
        self._is_verify_wanted = True
        if response.status == 421:
            required = {name.lower() for name in response.headers.get_list("Require")}
            if required != {"sec-agree"} or not self.settings.security_client:
                return False
            self._is_sec_agree = True
        if before == (self._server_list, self._is_verify_wanted, self._is_sec_agree):
            return False  # we said the same before, and it was refused
        self._resend()
        return True

    def _resend(self) -> None:
        uri = str(self._uri)
        authorization = self._digest.reauthorize(
            method="REGISTER", uri=uri, cnonce=new_tag(self._entropy)
        )
        self._send(authorization or self._digest.initial(self.settings.home_domain, uri))

    def _take_security_server(self, response: Response) -> None:
        lines = response.headers.get_all("Security-Server")
        if lines:
            self._server_list = parse_list(lines)

    def _receive_success(self, response: Response, now: float) -> None:
        info = response.headers.get("Authentication-Info")
        if info is not None:
            self._digest.check_authentication_info(info, body=response.body)
        self._take_security_server(response)
        if self.state is RegistrationState.DEREGISTERING:
            self._end(Deregistered(None))
            return
        expires_s = self._granted_lifetime(response)
        grant = Granted(
            is_refresh=self.state is RegistrationState.REFRESHING,
            expires_s=expires_s,
            security_server=self._server_list,
            feature_caps=FeatureCaps.parse(response.headers.get_all("Feature-Caps")),
            associated_uris=tuple(
                str(address.uri) for address in response.name_addrs("P-Associated-URI")
            ),
            service_route=tuple(str(route) for route in response.name_addrs("Service-Route")),
        )
        self._failures = 0
        self.state = RegistrationState.REGISTERED
        self._events.append(grant)
        self._timers.start("refresh", now + refresh_after_s(expires_s))
        self._timers.start("expiry", now + expires_s)
        self._do_what_waited(now)

    def _granted_lifetime(self, response: Response) -> int:
        """The lifetime of *our* contact: its parameter, else Expires, else what we asked for."""
        ours = [c for c in response.contacts if c.uri.equivalent(self._contact_uri)]
        if response.contacts and not ours:
            raise ParseError("our contact is not among the bindings", source="RFC 3261 10.2.4")
        parameter = ours[0].param("expires") if ours else None
        granted = delta_seconds(parameter)
        if granted is None:
            granted = delta_seconds(response.headers.get("Expires"))
        if granted is None:
            granted = self._expires_s
        if granted == 0:
            raise ParseError("the network granted no time", source="RFC 3261 10.2.4")
        return granted

    # --- failing and ending ----------------------------------------------------------------------
    def _fail(self, error: DcsdkError, now: float, *, is_retried: bool) -> None:
        if self.state is RegistrationState.DEREGISTERING:
            self._end(Deregistered(error))
        elif self.state is RegistrationState.REGISTERING:
            self._end(Deregistered(None) if self._wants_removal else Refused(error))
        elif is_retried:
            self._failures += 1
            self.state = RegistrationState.REGISTERED
            self._timers.start("refresh", now + self._retry_wait_s(error))
            self._do_what_waited(now)
        else:
            self._end(Deregistered(None) if self._wants_removal else Lost(error))

    def _retry_wait_s(self, error: DcsdkError) -> float:
        """RFC 5626 4.5: 50..100 % of base * 2^failures; Retry-After may lengthen it."""
        longest = min(RETRY_MAX_S, self.settings.retry_base_s * 2.0 ** min(self._failures, 16))
        wait_s = random_between(self._entropy, longest / 2, longest)
        return max(wait_s, getattr(error, "retry_after_s", None) or 0.0)

    def _do_what_waited(self, now: float) -> None:
        if self._wants_removal:
            self.deregister(now=now)
        elif self._wants_refresh:
            self._wants_refresh = False
            self.refresh(now=now)

    def _end(self, event: RegistrationEvent) -> None:
        self.state = RegistrationState.ENDED
        self._timers.clear()
        self._events.append(event)
