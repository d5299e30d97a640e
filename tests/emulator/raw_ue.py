"""A UE that says exactly what a test wants: SIP messages by hand over a SipEndpoint."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from dcsdk.interfaces import Address
from dcsdk.io.sip.endpoint import ClientTransaction, IncomingRequest, SipEndpoint, contact_uri
from dcsdk.io.sip.transport import Flow
from dcsdk.sdp.session import SessionDescription
from dcsdk.security import Secret
from dcsdk.sip.dialog import Dialog
from dcsdk.sip.digest import DigestClient
from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import SipUri, parse_uri

DOMAIN = "ims.example"


class RawUe:
    """One UE on one flow to the P-CSCF.

    Attributes:
        requests: what came for it.
    """

    def __init__(self, name: str, pcscf: Address, *, password: str | None = None) -> None:
        self.name = name
        self.identity = f"sip:{name}@{DOMAIN}"
        self.pcscf = pcscf
        self.requests: asyncio.Queue[IncomingRequest] = asyncio.Queue()
        self.endpoint = SipEndpoint(on_request=self.requests.put, name=name)
        self.digest = DigestClient(
            f"{name}@{DOMAIN}", Secret(f"{name}-password" if password is None else password)
        )
        self.call_id = os.urandom(8).hex()
        self.cseq = itertools.count(1)
        self.service_route: list[str] = []
        self._flow: Flow | None = None

    @property
    def flow(self) -> Flow:
        assert self._flow is not None
        return self._flow

    async def __aenter__(self) -> Self:
        self._flow = await self.endpoint.connect("tcp", *self.pcscf)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.endpoint.aclose()

    def request(
        self,
        method: str,
        uri: str,
        headers: Iterable[tuple[str, str]] = (),
        *,
        to: str | None = None,
        call_id: str | None = None,
        body: bytes = b"",
    ) -> Request:
        """Make a request with all mandatory headers; given ones replace those of the same name."""
        items = Headers(
            [
                ("Max-Forwards", "70"),
                ("From", f"<{self.identity}>;tag={self.name}"),
                ("To", f"<{uri if to is None else to}>"),
                ("Call-ID", call_id or os.urandom(8).hex()),
                ("CSeq", f"{next(self.cseq)} {method}"),
                ("Contact", f"<{self.contact}>"),
            ]
        )
        if body:
            items.add("Content-Type", "application/sdp")
        for name in {name for name, _ in headers}:
            items.remove(name)
        items.extend(headers)
        return Request(method, parse_uri(uri), items, body)

    @property
    def contact(self) -> SipUri:
        return contact_uri(self.flow, self.name)

    async def send(self, request: Request) -> Response:
        """Send a request and wait for the final response."""
        return await self.endpoint.send(request, self.flow).final()

    def start(self, request: Request) -> ClientTransaction:
        """Send a request."""
        return self.endpoint.send(request, self.flow)

    def register_request(
        self, *headers: tuple[str, str], expires: int = 3600, identity: str | None = None
    ) -> Request:
        """Make the next REGISTER, without credentials unless they are among the headers."""
        contact = (
            "Contact",
            f'<{self.contact}>;+sip.app-subtype="webrtc-datachannel";expires={expires}',
        )
        if any(name == "Contact" for name, _ in headers):
            all_headers = list(headers)
        else:
            all_headers = [contact, *headers]
        return self.request(
            "REGISTER",
            f"sip:{DOMAIN}",
            all_headers,
            to=identity or self.identity,
            call_id=self.call_id,
        )

    async def register(
        self,
        *headers: tuple[str, str],
        expires: int = 3600,
        verify: bool = True,
        identity: str | None = None,
    ) -> Response:
        """Register with Digest; the list of Security-Server is echoed unless told otherwise."""
        first = await self.send(self.register_request(*headers, expires=expires, identity=identity))
        if first.status != 401:
            return first
        authorization = self.digest.authorize(
            first.headers.get_all("WWW-Authenticate"),
            method="REGISTER",
            uri=f"sip:{DOMAIN}",
            cnonce=os.urandom(8).hex(),
        )
        echo = [
            ("Security-Verify", value)
            for value in first.headers.get_all("Security-Server")
            if verify
        ]
        final = await self.send(
            self.register_request(
                *headers,
                ("Authorization", authorization),
                *echo,
                expires=expires,
                identity=identity,
            )
        )
        if final.is_success:
            self.service_route = final.headers.get_list("Service-Route")
        return final

    # --- calls -----------------------------------------------------------------------------------
    def invite_request(
        self, target: str, offer: SessionDescription, *headers: tuple[str, str]
    ) -> Request:
        """Make an INVITE along the Service-Route."""
        return self.request("INVITE", target, [*self.route, *headers], body=offer.encode())

    async def call(
        self, target: str, offer: SessionDescription, *headers: tuple[str, str]
    ) -> tuple[Response, Dialog | None]:
        """Call, and acknowledge a 2xx."""
        request = self.invite_request(target, offer, *headers)
        response = await self.send(request)
        if not response.is_success:
            return response, None
        dialog = Dialog.from_response(request, response)
        self.endpoint.send_ack(dialog.ack(request.cseq.number), self.flow)
        return response, dialog

    async def next_request(self, method: str) -> IncomingRequest:
        """Wait for a request; ACKs in between are passed over."""
        while True:
            async with asyncio.timeout(5):
                incoming = await self.requests.get()
            if incoming.request.method == method:
                return incoming
            assert incoming.request.method == "ACK", incoming.request.method

    async def answer(
        self, incoming: IncomingRequest, answer: SessionDescription, *headers: tuple[str, str]
    ) -> Dialog:
        """Answer an INVITE with 200 and wait for the ACK."""
        dialog = Dialog.from_request(incoming.request, local_tag=incoming.local_tag)
        contact = ("Contact", f'<{self.contact}>;+sip.app-subtype="webrtc-datachannel"')
        response = incoming.request.response(
            200,
            to_tag=incoming.local_tag,
            headers=[contact, *headers],
            body=answer.encode(),
            content_type="application/sdp",
        )
        await incoming.respond_until_acked(response)
        return dialog

    async def reinvite(
        self, dialog: Dialog, offer: SessionDescription, *headers: tuple[str, str]
    ) -> Response:
        """Send a re-INVITE, and acknowledge a 2xx."""
        request = dialog.request(
            "INVITE",
            headers=[("Contact", f"<{self.contact}>"), *headers],
            body=offer.encode(),
            content_type="application/sdp",
        )
        response = await self.send(request)
        if response.is_success:
            self.endpoint.send_ack(dialog.ack(request.cseq.number), self.flow)
        return response

    @property
    def route(self) -> list[tuple[str, str]]:
        """The preloaded Route of an initial request."""
        host, port = self.pcscf
        own = f"<sip:{host}:{port};transport=tcp;lr>"
        return [("Route", value) for value in (own, *self.service_route)]
