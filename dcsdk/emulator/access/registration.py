"""The P-CSCF's part of a registration: ``mediasec`` and the binding of contact, flow and route.

``mediasec`` entries are between UE and P-CSCF only; nothing behind the P-CSCF ever sees them.

Source: TS 24.229 5.2.2, 7.2A.7; RFC 3329 2.3.1; TS 33.328 7.1.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable

from dcsdk.emulator.access.bindings import (
    MAX_NEGOTIATIONS,
    AccessBinding,
    BindingTable,
    MechanismNegotiation,
)
from dcsdk.errors import ParseError, RemoteProtocolError
from dcsdk.ims.mediasec import (
    SecurityMechanism,
    agreed,
    are_equal,
    format_list,
    parse_list,
    signalling_mechanisms,
)
from dcsdk.io.sip.endpoint import IncomingRequest
from dcsdk.sip.digest import Credentials
from dcsdk.sip.proxying import with_fewer_hops
from dcsdk.sip.registration_values import delta_seconds
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import SipUri

TOKEN_BYTES = 8


class RegistrationRefused(RemoteProtocolError):
    """The P-CSCF itself answers a REGISTER.

    Attributes:
        status: of the answer.
        headers: of the answer.
    """

    def __init__(self, status: int, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message, sip_status_hint=status)
        self.status = status
        self.headers = headers


class AccessRegistrar:
    """Looks into REGISTERs on their way to the S-CSCF, and into their answers.

    Args:
        bindings: where what was agreed is kept.
        mechanisms: ``mediasec`` entries this network has.
        path: makes the Path URI of a token.
        visited_network: text of ``P-Visited-Network-ID``.
        faults: the faults that are on.
    """

    def __init__(
        self,
        bindings: BindingTable,
        *,
        mechanisms: tuple[SecurityMechanism, ...],
        path: Callable[[str], SipUri],
        visited_network: str,
        faults: frozenset[str],
    ) -> None:
        self._bindings = bindings
        self._mechanisms = mechanisms
        self._path = path
        self._visited_network = visited_network
        self._faults = faults
        self._negotiations: OrderedDict[str, MechanismNegotiation] = OrderedDict()

    def outgoing(self, incoming: IncomingRequest) -> tuple[Request, str]:
        """Prepare a REGISTER for the S-CSCF.

        Returns:
            The request and the token of its binding.

        Raises:
            RegistrationRefused: it goes no further; say why to the UE.
            RemoteProtocolError: it cannot be read.
        """
        request = incoming.request
        try:
            client = parse_list(request.headers.get_all("Security-Client"))
            verify = parse_list(request.headers.get_all("Security-Verify"))
            contacts = request.contacts
            identity = str(request.to.uri)
        except ParseError as exc:
            raise RemoteProtocolError(f"REGISTER: {exc}", sip_status_hint=400) from exc
        self._check(request, client, verify)
        contact = str(contacts[0].uri) if contacts else ""
        token = self._bindings.token_of(identity, contact) or os.urandom(TOKEN_BYTES).hex()
        outgoing = with_fewer_hops(request)
        for name, mechanisms in (("Security-Client", client), ("Security-Verify", verify)):
            outgoing.headers.remove(name)
            rest = signalling_mechanisms(mechanisms)
            if rest:
                outgoing.headers.add(name, format_list(rest))
        _remove_integrity_protected(outgoing)
        outgoing.headers.prepend("Path", f"<{self._path(token)}>")
        outgoing.headers.set("P-Visited-Network-ID", f'"{self._visited_network}"')
        outgoing.headers.set("P-Charging-Vector", f"icid-value={os.urandom(16).hex()}")
        return outgoing, token

    def answered(
        self, incoming: IncomingRequest, response: Response, token: str, *, now: float
    ) -> Response:
        """Prepare an answer of the S-CSCF for the UE, and keep what it says.

        Args:
            incoming: the UE's REGISTER.
            response: a copy that may be changed, our Via gone already.
            token: of ``outgoing``.
            now: seconds on the loop's clock.
        """
        request = incoming.request
        client = parse_list(request.headers.get_all("Security-Client"))
        if response.status == 401:
            self._note_challenge(request.call_id, client)
        elif response.status >= 200:
            self._negotiations.pop(request.call_id, None)
        if response.is_success and not self._keep(incoming, response, token, client, now):
            return incoming.request.response(503, to_tag=response.to.tag)
        if response.status == 401 or response.is_success:
            is_outdated = response.status == 401 and self._shows_outdated_list(request.call_id)
            for name, value in self._security_server(client, is_outdated=is_outdated):
                response.headers.add(name, value)
        return response

    # --- what the UE said ------------------------------------------------------------------------
    def _check(
        self,
        request: Request,
        client: tuple[SecurityMechanism, ...],
        verify: tuple[SecurityMechanism, ...],
    ) -> None:
        """Check option tags, and that a second REGISTER repeats what the first one agreed on."""
        options = [
            *request.headers.get_list("Proxy-Require"),
            *(["mediasec"] if "E19" in self._faults else []),
        ]
        if options:
            raise RegistrationRefused(
                420, "no extension is supported", ("Unsupported", ", ".join(options))
            )
        negotiation = self._negotiations.get(request.call_id, MechanismNegotiation())
        if not _answers_a_challenge(request):
            negotiation.is_challenged = False  # the UE starts over
        if negotiation.is_challenged and not are_equal(negotiation.client, client):
            raise RegistrationRefused(403, "Security-Client changed between REGISTERs")
        if "494" in self._faults:
            raise self._refused_494(client, "fault 494")
        if "E3" in self._faults and verify and not negotiation.was_refused:
            negotiation.was_refused = True
            self._remember(request.call_id, negotiation)
            raise self._refused_494(client, "fault E3")
        expected = self._mechanisms if "E1" not in self._faults else ()
        is_due = negotiation.is_challenged and bool(client) and bool(expected)
        if (verify or is_due) and not are_equal(verify, expected):
            raise self._refused_494(client, "Security-Verify is not the list that was sent")

    def _refused_494(
        self, client: tuple[SecurityMechanism, ...], reason: str
    ) -> RegistrationRefused:
        return RegistrationRefused(494, reason, *self._security_server(client))

    # --- what the network answered ---------------------------------------------------------------
    def _shows_outdated_list(self, call_id: str) -> bool:
        """Fault E3: the list of the challenge is not the one in force, until 494 said so."""
        return "E3" in self._faults and not (
            call_id in self._negotiations and self._negotiations[call_id].was_refused
        )

    def _security_server(
        self, client: tuple[SecurityMechanism, ...], *, is_outdated: bool = False
    ) -> list[tuple[str, str]]:
        """Our list, for a UE that sent its own."""
        shown = self._mechanisms
        if is_outdated:
            shown = (*shown, SecurityMechanism.media("outdated"))
        if "E4" in self._faults:
            shown = (*shown[:-1], SecurityMechanism.media("tampered"))
        if not client or not shown or "E1" in self._faults:
            return []
        return [("Security-Server", str(mechanism)) for mechanism in shown]

    def _note_challenge(self, call_id: str, client: tuple[SecurityMechanism, ...]) -> None:
        negotiation = self._negotiations.get(call_id, MechanismNegotiation())
        negotiation.client = client
        negotiation.is_challenged = True
        self._remember(call_id, negotiation)

    def _remember(self, call_id: str, negotiation: MechanismNegotiation) -> None:
        self._negotiations[call_id] = negotiation
        while len(self._negotiations) > MAX_NEGOTIATIONS:
            self._negotiations.popitem(last=False)

    def _keep(
        self,
        incoming: IncomingRequest,
        response: Response,
        token: str,
        client: tuple[SecurityMechanism, ...],
        now: float,
    ) -> bool:
        """Keep, renew or forget the binding of the UE's contact; ``False`` without room."""
        expires_s = self._granted(incoming.request, response)
        if not expires_s:
            self._bindings.remove(token)
            return True
        identities = tuple(str(item.uri) for item in response.name_addrs("P-Associated-URI"))
        identity = str(incoming.request.to.uri)
        binding = AccessBinding(
            token=token,
            contact=str(incoming.request.contacts[0].uri),
            flow=incoming.flow,
            identities=identities or (identity,),
            service_route=tuple(str(item.uri) for item in response.name_addrs("Service-Route")),
            agreed=agreed(client, self._mechanisms) if "E1" not in self._faults else frozenset(),
            expires_at=now + expires_s,
        )
        return self._bindings.add(binding, now=now)

    @staticmethod
    def _granted(request: Request, response: Response) -> int:
        """The lifetime the S-CSCF granted this contact, 0 when it is gone."""
        ours = request.contacts[0] if request.contacts else None
        if ours is None:
            return 0
        for contact in response.contacts:
            if contact.uri.equivalent(ours.uri):
                return delta_seconds(contact.param("expires")) or 0
        return 0


def _answers_a_challenge(request: Request) -> bool:
    """Tell a REGISTER with credentials from a first one, whose response is empty or missing."""
    text = request.headers.get("Authorization")
    if text is None:
        return False
    try:
        return Credentials.parse(text).response != ""
    except ParseError as exc:
        raise RemoteProtocolError(f"Authorization: {exc}", sip_status_hint=400) from exc


def _remove_integrity_protected(request: Request) -> None:
    """Take out what only a P-CSCF may say (TS 24.229 5.2.2)."""
    text = request.headers.get("Authorization")
    if text is None or "integrity-protected" not in text.lower():
        return
    credentials = Credentials.parse(text)
    kept = tuple(
        (name, value) for name, value in credentials.others if name.lower() != "integrity-protected"
    )
    fields = {name: getattr(credentials, name) for name in credentials.__slots__}
    request.headers.set("Authorization", str(Credentials(**{**fields, "others": kept})))
