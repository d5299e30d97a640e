"""The registrar of the S-CSCF: a function from REGISTER to its response.

Source: RFC 3261 10.3; TS 24.229 5.4.1; RFC 8760 (one challenge per algorithm).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from dcsdk.emulator.core.hss import Binding, Hss, Subscriber
from dcsdk.errors import ParseError, RemoteProtocolError
from dcsdk.ims.feature_tags import DATACHANNEL, FeatureCaps
from dcsdk.sip.digest import Credentials, DigestOutcome, DigestVerifier
from dcsdk.sip.registration_values import delta_seconds
from dcsdk.sip.syntax.identifiers import Entropy
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import NameAddr, SipUri

logger = logging.getLogger(__name__)

MAX_CONTACTS = 8
"""Contacts of one REGISTER."""


class Registrar:
    """Answers REGISTER requests.

    Args:
        hss: subscribers and bindings.
        home_domain: realm of the challenges, lower case.
        service_route: makes the URI for Service-Route.
        is_dc_supported: say ``g.3gpp.datachannel`` in Feature-Caps.
        min_expires_s: shorter registrations get 423.
        max_expires_s: longer ones are shortened.
        entropy: random bytes for nonces.
        faults: the faults that are on.
    """

    def __init__(
        self,
        hss: Hss,
        *,
        home_domain: str,
        service_route: Callable[[], SipUri],
        is_dc_supported: bool,
        min_expires_s: int,
        max_expires_s: int,
        entropy: Entropy,
        faults: frozenset[str],
    ) -> None:
        self._hss = hss
        self._service_route = service_route
        self._is_dc_supported = is_dc_supported
        self._min_expires_s = min_expires_s
        self._max_expires_s = max_expires_s
        self._faults = faults
        self._verifier = DigestVerifier(home_domain, entropy=entropy)

    def answer(self, request: Request, *, to_tag: str, now: float) -> Response:
        """Answer a REGISTER.

        Args:
            request: as it came from the P-CSCF.
            to_tag: for the response.
            now: seconds since the epoch.

        Raises:
            RemoteProtocolError: it cannot be read, or asks for what cannot be; the status says.
            HssError: the database cannot answer.
        """
        if "403" in self._faults:
            return request.response(403, to_tag=to_tag)
        if "423" in self._faults:
            return request.response(423, to_tag=to_tag, headers=[("Min-Expires", "1")])
        credentials = _credentials(request)
        if credentials is None or not credentials.response or "401-loop" in self._faults:
            return self._challenge(request, to_tag, now, is_stale=False)
        subscriber = self._hss.subscriber(credentials.username)
        identity = str(request.to.uri)
        if subscriber is None or identity not in subscriber.public_identities:
            return request.response(403, to_tag=to_tag)
        outcome = self._verifier.verify(
            credentials,
            method="REGISTER",
            password=subscriber.password,
            now=now,
            uri=str(request.uri),
            body=request.body,
        )
        if outcome is DigestOutcome.STALE:
            return self._challenge(request, to_tag, now, is_stale=True)
        if outcome is DigestOutcome.REJECTED:
            logger.info("register=%s wrong credentials", identity)
            return request.response(403, to_tag=to_tag)
        too_brief = self._bind(request, subscriber, now)
        if too_brief:
            headers = [("Min-Expires", str(self._min_expires_s))]
            return request.response(423, to_tag=to_tag, headers=headers)
        return self._success(request, subscriber, credentials, to_tag, now)

    def _challenge(self, request: Request, to_tag: str, now: float, *, is_stale: bool) -> Response:
        challenges = self._verifier.challenges(now=now, is_stale=is_stale)
        headers = [("WWW-Authenticate", value) for value in challenges]
        return request.response(401, to_tag=to_tag, headers=headers)

    def _bind(self, request: Request, subscriber: Subscriber, now: float) -> bool:
        """Change the bindings as the REGISTER says (RFC 3261 10.3 step 7).

        Returns:
            Whether a lifetime was too brief; then nothing was changed.
        """
        default_s = delta_seconds(request.headers.get("Expires"))
        identities = subscriber.public_identities
        if request.is_contact_star:
            if default_s != 0:
                raise RemoteProtocolError("Contact: * needs Expires: 0", sip_status_hint=400)
            self._hss.remove_bindings(identities)
            return False
        contacts = _contacts(request)
        lifetimes = []
        for contact in contacts:
            wanted = delta_seconds(contact.param("expires"))
            wanted = default_s if wanted is None else wanted
            expires_s = self._max_expires_s if wanted is None else min(wanted, self._max_expires_s)
            if 0 < expires_s < self._min_expires_s:
                return True
            lifetimes.append(expires_s)
        self._check_order(request, now)
        for contact, expires_s in zip(contacts, lifetimes, strict=True):
            key = contact_key(contact)
            if expires_s == 0:
                self._hss.remove_bindings(identities, key)
                continue
            binding = Binding(
                public_identity=identities[0],
                contact_key=key,
                contact=str(contact.without_param("expires")),
                path=tuple(str(item) for item in request.name_addrs("Path")),
                expires_at=now + expires_s,
                call_id=request.call_id,
                cseq=request.cseq.number,
            )
            self._hss.save_binding(binding, identities=identities, now=now)
        return False

    def _check_order(self, request: Request, now: float) -> None:
        """A REGISTER that was overtaken by a later one of the same Call-ID changes nothing."""
        for binding in self._hss.bindings(str(request.to.uri), now=now):
            if binding.call_id == request.call_id and request.cseq.number <= binding.cseq:
                raise RemoteProtocolError(
                    "REGISTER is out of order", source="RFC 3261 10.3", sip_status_hint=500
                )

    def _success(
        self,
        request: Request,
        subscriber: Subscriber,
        credentials: Credentials,
        to_tag: str,
        now: float,
    ) -> Response:
        headers = [
            ("Contact", f"{binding.contact};expires={max(1, round(binding.expires_at - now))}")
            for binding in self._hss.bindings(str(request.to.uri), now=now)
        ]
        headers += [("Path", value) for value in request.headers.get_list("Path")]
        headers.append(("Service-Route", f"<{self._service_route()}>"))
        headers.append(
            ("P-Associated-URI", ", ".join(f"<{item}>" for item in subscriber.public_identities))
        )
        if self._is_dc_supported and "E15" not in self._faults:
            headers.append(("Feature-Caps", str(FeatureCaps(features=((DATACHANNEL, None),)))))
        info = self._verifier.authentication_info(credentials, subscriber.password)
        headers.append(("Authentication-Info", info))
        return request.response(200, to_tag=to_tag, headers=headers)


def contact_key(contact: NameAddr) -> str:
    """What makes two contacts the same: the URI without what a flow decides (RFC 3261 10.3)."""
    uri = contact.uri
    if not isinstance(uri, SipUri):
        return str(uri)
    return str(SipUri(scheme=uri.scheme, user=uri.user, host=uri.host.lower(), port=uri.port))


def _credentials(request: Request) -> Credentials | None:
    text = request.headers.get("Authorization")
    if text is None:
        return None
    try:
        return Credentials.parse(text)
    except ParseError as exc:
        raise RemoteProtocolError(f"Authorization: {exc}", sip_status_hint=400) from exc


def _contacts(request: Request) -> tuple[NameAddr, ...]:
    contacts = request.contacts
    if len(contacts) > MAX_CONTACTS:
        raise RemoteProtocolError(f"more than {MAX_CONTACTS} contacts", sip_status_hint=400)
    return contacts
