"""Runs a registration: sends its REGISTERs, keeps its timer, tells what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from dcsdk.errors import DcsdkError, OperationTimeout
from dcsdk.io.clock import LazyTimer
from dcsdk.io.tasks import TaskSet
from dcsdk.sip.registration import RegistrationMachine
from dcsdk.sip.registration_values import Deregistered, Granted, Lost, Refused
from dcsdk.sip.syntax.message import Request, Response


class SipRegistration:
    """The asyncio side of :class:`dcsdk.sip.registration.RegistrationMachine`.

    Args:
        machine: not yet started.
        send: sends a REGISTER and waits, bounded, for its final response.
        on_granted: called with each 200, the first included.
        on_lost: called when the binding is gone for good.
    """

    def __init__(
        self,
        machine: RegistrationMachine,
        *,
        send: Callable[[Request], Awaitable[Response]],
        on_granted: Callable[[Granted], None],
        on_lost: Callable[[DcsdkError], None],
    ) -> None:
        self.machine = machine
        self._send = send
        self._on_granted = on_granted
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._timer = LazyTimer(self._loop, self._timer_fired)
        self._tasks = TaskSet("sip registration")
        self._granted: asyncio.Future[Granted] = self._loop.create_future()
        self._removed: asyncio.Future[DcsdkError | None] = self._loop.create_future()

    async def register(self, timeout_s: float) -> Granted:
        """Register and wait for the outcome. A wait that is given up ends the registration.

        Raises:
            RegistrationFailed: refused, with its status.
            OperationTimeout: no answer in time.
            TransportError: the P-CSCF cannot be reached.
        """
        self.machine.register(now=self._loop.time())
        self._settle()
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(self._granted)
        except TimeoutError as exc:
            await self.aclose()
            if isinstance(exc, OperationTimeout):
                raise
            raise OperationTimeout(f"no registration in {timeout_s} s") from exc
        except BaseException:
            await self.aclose()
            raise

    async def deregister(self, timeout_s: float) -> DcsdkError | None:
        """Remove the binding; returns what went wrong, after which it is left to expire."""
        self.machine.deregister(now=self._loop.time())
        self._settle()
        try:
            await asyncio.wait([self._removed], timeout=timeout_s)
        finally:
            await self.aclose()
        if not self._removed.done():
            return OperationTimeout(f"the registration was not removed in {timeout_s} s")
        return self._removed.result()

    def refresh(self) -> None:
        """Refresh now."""
        self.machine.refresh(now=self._loop.time())
        self._settle()

    async def aclose(self) -> None:
        """Stop; the binding is left to expire. Idempotent."""
        self._timer.cancel()
        await self._tasks.aclose()

    # --- inside ----------------------------------------------------------------------------------
    async def _exchange(self, request: Request) -> None:
        try:
            response = await self._send(request)
        except DcsdkError as exc:
            self.machine.fail(exc, now=self._loop.time())
        else:
            self.machine.receive(response, now=self._loop.time())
        self._settle()

    def _timer_fired(self, now: float) -> None:
        self.machine.handle_timer(now=now)
        self._settle()

    def _settle(self) -> None:
        while (request := self.machine.poll_transmit()) is not None:
            self._tasks.start(self._exchange(request), name=str(request.cseq))
        while (event := self.machine.poll_event()) is not None:
            if isinstance(event, Granted):
                self._on_granted(event)
                if not self._granted.done():
                    self._granted.set_result(event)
            elif isinstance(event, Refused):
                self._granted.set_exception(event.error)
                self._granted.exception()  # nobody may wait any more
            elif isinstance(event, Deregistered):
                self._removed.set_result(event.error)
            elif isinstance(event, Lost):
                self._on_lost(event.error)
        deadline = self.machine.next_timer()
        if deadline is None:
            self._timer.cancel()
        else:
            self._timer.set(deadline)
