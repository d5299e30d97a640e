from __future__ import annotations

import asyncio

from dcsdk.io.clock import LazyTimer


class _Loop:
    """Counts the loop's timers and runs by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.made = 0
        self.pending: list[_Handle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: object) -> _Handle:
        self.made += 1
        handle = _Handle(self, when, callback)
        self.pending.append(handle)
        return handle

    def advance(self, until: float) -> None:
        while due := [item for item in self.pending if item.when <= until]:
            handle = min(due, key=lambda item: item.when)
            self.pending.remove(handle)
            self.now = max(self.now, handle.when)
            handle.callback()  # type: ignore[operator]
        self.now = until


class _Handle:
    def __init__(self, loop: _Loop, when: float, callback: object) -> None:
        self.loop, self.when, self.callback = loop, when, callback

    def cancel(self) -> None:
        if self in self.loop.pending:
            self.loop.pending.remove(self)


def make() -> tuple[_Loop, LazyTimer, list[float]]:
    loop, fired = _Loop(), list[float]()
    timer = LazyTimer(loop, fired.append)  # type: ignore[arg-type]
    return loop, timer, fired


def test_it_fires_at_the_deadline() -> None:
    loop, timer, fired = make()
    timer.set(103.0)
    loop.advance(102.9)
    assert not fired
    loop.advance(103.0)
    assert fired == [103.0]
    assert not loop.pending


def test_moving_the_deadline_later_makes_no_timer() -> None:
    loop, timer, fired = make()
    for step in range(1000):
        timer.set(101.0 + step / 1000)
    assert loop.made == 1
    loop.advance(110.0)
    assert fired == [101.0 + 999 / 1000]
    assert loop.made == 2


def test_moving_the_deadline_earlier_replaces_the_timer() -> None:
    loop, timer, fired = make()
    timer.set(110.0)
    timer.set(101.0)
    assert len(loop.pending) == 1
    loop.advance(120.0)
    assert fired == [101.0]


def test_no_deadline_lets_the_timer_run_out() -> None:
    loop, timer, fired = make()
    timer.set(101.0)
    timer.set(None)
    loop.advance(120.0)
    assert not fired
    assert not loop.pending


def test_cancel_leaves_nothing_behind() -> None:
    loop, timer, fired = make()
    timer.set(101.0)
    timer.cancel()
    timer.cancel()
    assert not loop.pending
    assert not fired


async def test_it_runs_on_a_real_loop() -> None:
    loop = asyncio.get_running_loop()
    fired: asyncio.Future[float] = loop.create_future()
    timer = LazyTimer(loop, fired.set_result)
    deadline = loop.time() + 0.002
    timer.set(deadline - 0.001)
    timer.set(deadline)
    assert await fired >= deadline
