"""The trace bus."""

from __future__ import annotations

import asyncio

import pytest

from dcsdk.emulator.lab.trace import TraceBus, TraceEvent, format_ladder
from dcsdk.errors import OperationTimeout


def publish(bus: TraceBus, summary: str) -> TraceEvent:
    return bus.publish(source="a", destination="b", protocol="SIP", summary=summary, data=b"x")


def test_events_are_kept_in_order_and_the_oldest_go_first() -> None:
    bus = TraceBus(capacity=2)
    for summary in ("one", "two", "three"):
        publish(bus, summary)
    assert [event.summary for event in bus] == ["two", "three"]
    assert len(bus) == len(bus.events) == 2


def test_a_subscriber_sees_every_event_until_it_leaves() -> None:
    bus, seen = TraceBus(), list[str]()
    leave = bus.subscribe(lambda event: seen.append(event.summary))
    publish(bus, "one")
    leave()
    leave()
    publish(bus, "two")
    assert seen == ["one"]


def test_a_subscriber_that_fails_is_dropped_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus, seen = TraceBus(), list[str]()

    def broken(event: TraceEvent) -> None:
        raise ValueError(event.summary)

    bus.subscribe(broken)
    bus.subscribe(lambda event: seen.append(event.summary))
    publish(bus, "one")
    publish(bus, "two")
    assert seen == ["one", "two"]
    assert len(caplog.records) == 1


def test_the_number_of_subscribers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcsdk.emulator.lab.trace.MAX_SUBSCRIBERS", 1)
    bus = TraceBus()
    bus.subscribe(lambda event: None)
    with pytest.raises(RuntimeError, match="subscribers"):
        bus.subscribe(lambda event: None)


def test_addresses_get_names_and_unknown_ones_stay_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dcsdk.emulator.lab.trace.MAX_NAMES", 1)
    bus = TraceBus()
    bus.name_address(("127.0.0.1", 5060), "P-CSCF")
    assert bus.has_name(("127.0.0.1", 5060))
    assert bus.name_of(("127.0.0.1", 5060)) == "P-CSCF"
    bus.name_address(("::1", 5060), "S-CSCF")
    assert bus.name_of(("127.0.0.1", 5060)) == "127.0.0.1:5060"
    assert bus.name_of(("::1", 7)) == "[::1]:7"


def test_connections_from_one_port_to_different_peers_have_names_of_their_own() -> None:
    port, pcscf, scscf = (("127.0.0.1", number) for number in (40_000, 5061, 5080))
    bus = TraceBus()
    bus.name_address(pcscf, "P-CSCF")
    bus.name_connection(port, "alice", pcscf)
    bus.name_connection(port, "IMS-AS", scscf)
    assert [bus.name_of(port, peer) for peer in (pcscf, scscf)] == ["alice", "IMS-AS"]
    assert bus.name_of(pcscf, port) == "P-CSCF"
    bus.forget_connection(port, pcscf)
    assert not bus.has_name(port, pcscf) and bus.has_name(port, scscf)


async def test_waiting_finds_events_kept_and_events_to_come() -> None:
    bus = TraceBus()
    kept = publish(bus, "kept")
    assert await bus.wait_for(lambda event: event.summary == "kept") is kept
    asyncio.get_running_loop().call_soon(publish, bus, "later")
    assert (await bus.wait_for(lambda event: event.summary == "later")).summary == "later"


async def test_waiting_is_bounded() -> None:
    with pytest.raises(OperationTimeout):
        await TraceBus().wait_for(lambda event: False, timeout_s=0.01)


def test_the_ladder_has_one_line_for_each_event() -> None:
    bus = TraceBus()
    publish(bus, "INVITE")
    publish(bus, "200 OK (INVITE)")
    lines = format_ladder(bus.events).splitlines()
    assert len(lines) == 2
    assert "a -> b" in lines[0] and lines[0].endswith("INVITE")
    assert format_ladder(()) == ""
