"""Signalling without a network: clients of one switchboard call each other at once.

What a test wants to go wrong, it sets on the switchboard or on a dialog.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import ClassVar

from dcsdk import CallRejected, ClientConfig, SignallingSecurity, hookimpl
from dcsdk.ims.feature_tags import FeatureCaps
from dcsdk.interfaces import (
    IncomingInvitation,
    OutgoingInvitation,
    RegistrationGrant,
    RegistrationRequest,
    Reoffer,
    Signalling,
    SignallingDialog,
)
from dcsdk.io.mailbox import Mailbox
from dcsdk.sdp.session import SessionDescription

SDP = SessionDescription


class MemoryReoffer(Reoffer):
    """A re-offer on its way; the answer, or the refusal, is its outcome."""

    def __init__(self, offer: SDP) -> None:
        self.offer = offer
        self.outcome: asyncio.Future[SDP] = asyncio.get_running_loop().create_future()
        self.taken_back = asyncio.Event()

    async def wait_withdrawn(self) -> None:
        await self.taken_back.wait()

    async def accept(self, answer: SDP) -> None:
        if self.taken_back.is_set():
            raise CallRejected("the peer took its offer back", status=487)
        self.outcome.set_result(SDP.parse(answer.encode()))

    async def reject(self, status: int, reason: str | None = None) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(CallRejected(f"refused with {status}", status=status))


class MemoryDialog(SignallingDialog):
    """One side of a call.

    Attributes:
        statuses: refusals of the next re-offers of this side, before the peer sees them.
        answers: what is made of the answers on their way.
        bye_error: raised by ``bye``.
        is_stuck: ``bye`` never comes back.
        pending: the re-offer of this side that waits for its answer.
    """

    def __init__(self, call_id: str, remote: str) -> None:
        self.call_id = call_id
        self.remote_uri = self.asserted_identity = remote
        self.peer: MemoryDialog = self
        self.statuses: deque[int] = deque()
        self.answers: Callable[[SDP], SDP] = lambda answer: answer
        self.bye_error: Exception | None = None
        self.is_stuck = False
        self.pending: MemoryReoffer | None = None
        self.byes = 0
        self._mailbox: Mailbox[Reoffer] = Mailbox(8)
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def reoffer(self, offer: SDP, *, timeout_s: float) -> SDP:
        if self.statuses:
            status = self.statuses.popleft()
            raise CallRejected(f"refused with {status}", status=status)
        self.pending = reoffer = MemoryReoffer(SDP.parse(offer.encode()))
        self.peer._mailbox.put(reoffer)
        try:
            async with asyncio.timeout(timeout_s):
                return self.answers(await reoffer.outcome)
        except asyncio.CancelledError:
            reoffer.taken_back.set()
            raise

    async def wait_after_glare(self) -> None:
        await asyncio.sleep(0)

    def reoffers(self) -> AsyncIterator[Reoffer]:
        return self._mailbox

    async def bye(self) -> None:
        self.byes += 1
        if self.is_stuck:
            await asyncio.get_running_loop().create_future()
        self.end("we ended the call")
        self.peer.end("the peer ended the call")
        if self.bye_error is not None:
            raise self.bye_error

    def end(self, reason: str) -> None:
        """The dialog is over."""
        self._mailbox.close()
        if not self._ended.done():
            self._ended.set_result(reason)

    async def wait_ended(self) -> str:
        return await asyncio.shield(self._ended)


class MemoryInvitation(IncomingInvitation):
    """A call on its way.

    Attributes:
        outcome: the caller's side of it.
        rejected_with: the status of the refusal.
        reject_error: raised by ``reject``.
    """

    def __init__(self, offer: SDP | None, caller: str, call_id: str) -> None:
        self.offer = offer
        self.call_id = call_id
        self.remote_uri = self.asserted_identity = caller
        self.outcome: asyncio.Future[tuple[SignallingDialog, SDP]] = (
            asyncio.get_running_loop().create_future()
        )
        self.rejected_with: int | None = None
        self.reject_error: Exception | None = None
        self.accept_error: Exception | None = None
        self.dialog: MemoryDialog | None = None

    async def ring(self) -> None:
        pass

    async def accept(self, answer: SDP) -> SignallingDialog:
        if self.accept_error is not None:
            raise self.accept_error
        mine = MemoryDialog(self.call_id, self.remote_uri)
        theirs = MemoryDialog(self.call_id, "sip:callee@ims.example")
        mine.peer, theirs.peer = theirs, mine
        self.dialog = mine
        self.outcome.set_result((theirs, SDP.parse(answer.encode())))
        return mine

    async def reject(self, status: int, reason: str | None = None) -> None:
        self.rejected_with = status
        if self.reject_error is not None:
            raise self.reject_error
        self.outcome.set_exception(CallRejected(f"refused with {status}", status=status))
        self.outcome.exception()

    async def wait_ended(self) -> str:
        await asyncio.wait([self.outcome])
        return "it was rejected" if self.dialog is None else await self.dialog.wait_ended()


class MemoryCall(OutgoingInvitation):
    """A call of ours."""

    def __init__(self, outcome: asyncio.Future[tuple[SignallingDialog, SDP]]) -> None:
        self._outcome = outcome

    async def answered(self) -> tuple[SignallingDialog, SDP]:
        return await asyncio.shield(self._outcome)

    @property
    def progress(self) -> Sequence[int]:
        return ()


class Switchboard:
    """A plug-in with the signalling ``"memory"`` of all clients that use it.

    Attributes:
        feature_caps: what registrations are granted.
        lines: the clients' signalling, by public identity.
        start_error, register_error, deregister_error, call_error: raised by these.
    """

    def __init__(self) -> None:
        board = self
        self.feature_caps = "*;+g.3gpp.datachannel"
        self.lines: dict[str, MemorySignalling] = {}
        self.start_error: Exception | None = None
        self.deregister_error: Exception | None = None
        self.call_error: Exception | None = None
        self.call_ids = itertools.count(1)

        class Connected(MemorySignalling):
            name: ClassVar[str] = "memory"

            def __init__(self, config: ClientConfig) -> None:
                super().__init__(config, board)

        self._signalling = Connected

    @hookimpl
    def dcsdk_signallings(self) -> list[type[Signalling]]:
        return [self._signalling]

    def grant(self, request: RegistrationRequest, identity: str) -> RegistrationGrant:
        """Grant everything that is asked for."""
        return RegistrationGrant(
            expires_s=request.expires_s,
            security_server=request.security_client,
            feature_caps=FeatureCaps.parse([self.feature_caps]),
            associated_uris=(identity,),
            service_route=(),
            signalling=SignallingSecurity.TLS,
        )


class MemorySignalling(Signalling):
    """One client's connection to the switchboard.

    Attributes:
        on_refreshed, on_lost: what the client wants to be told.
        request: of the registration.
        is_closed: ``aclose`` was called.
    """

    name: ClassVar[str] = "memory-base"

    def __init__(self, config: ClientConfig, board: Switchboard) -> None:
        self.identity = config.public_identity
        self.board = board
        self.is_closed = False
        self.request: RegistrationRequest | None = None
        self.on_refreshed: Callable[[RegistrationGrant], None] | None = None
        self.on_lost: Callable[[Exception], None] | None = None
        self.calls: Mailbox[IncomingInvitation] = Mailbox(8)

    @property
    def security(self) -> SignallingSecurity:
        return SignallingSecurity.TLS

    @property
    def local_host(self) -> str:
        return "127.0.0.1"

    def trace(self, listener: object) -> None:
        """Nothing here has the form of a message."""

    async def start(self) -> None:
        if self.board.start_error is not None:
            raise self.board.start_error
        self.board.lines[self.identity] = self

    async def register(
        self,
        request: RegistrationRequest,
        *,
        on_refreshed: Callable[[RegistrationGrant], None] | None = None,
        on_lost: Callable[[Exception], None] | None = None,
    ) -> RegistrationGrant:
        self.request, self.on_refreshed, self.on_lost = request, on_refreshed, on_lost
        return self.board.grant(request, self.identity)

    async def deregister(self, timeout_s: float) -> None:
        if self.board.deregister_error is not None:
            raise self.board.deregister_error

    def invite(
        self, target: str, offer: SDP, *, contact_features: Mapping[str, str | None]
    ) -> OutgoingInvitation:
        call_id = f"call {next(self.board.call_ids)}"
        invitation = MemoryInvitation(SDP.parse(offer.encode()), self.identity, call_id)
        if self.board.call_error is not None:
            invitation.outcome.set_exception(self.board.call_error)
        else:
            self.board.lines[target].calls.put(invitation)
        return MemoryCall(invitation.outcome)

    def invitations(self) -> AsyncIterator[IncomingInvitation]:
        return self.calls

    async def aclose(self, timeout_s: float) -> None:
        self.is_closed = True
        self.calls.close()
