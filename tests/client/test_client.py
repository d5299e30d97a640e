"""The client, with signalling that does what a test wants."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from dcsdk import (
    CallRejected,
    Client,
    ClientConfig,
    ConfigError,
    DataChannels,
    Event,
    LocalProtocolError,
    NegotiationError,
    OperationTimeout,
    RegistrationChanged,
    RegistrationLost,
    Registry,
    SecurityScope,
    TransportError,
    UnsupportedByNetwork,
)
from dcsdk.emulator import Network
from dcsdk.sctp import NewReno
from tests.memory_clients import ALICE, BOB, a_client, a_pair, signalling_of
from tests.memory_signalling import MemoryInvitation, Switchboard


@pytest.fixture
def board() -> Switchboard:
    return Switchboard()


# --- life -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("field", "says"),
    [("engine", "association engine"), ("signalling", "signalling"), ("list_provider", "provider")],
)
def test_a_plug_in_that_is_not_loaded_is_refused_by_name(field: str, says: str) -> None:
    values: dict[str, Any] = {"public_identity": ALICE, field: "steam"}
    with pytest.raises(ConfigError, match=f"no .*{says}.* called 'steam' is loaded"):
        Client(ClientConfig(**values))


@pytest.mark.parametrize("field", ["keylog", "capture"])
def test_a_file_for_secrets_that_cannot_be_written_is_refused(tmp_path: Path, field: str) -> None:
    files = {"keylog": tmp_path / "keys.log", "capture": tmp_path / "call.pcapng"}
    files[field] = tmp_path / "nowhere" / "file"
    with pytest.raises(ConfigError, match="nowhere"):
        Client(ClientConfig(public_identity=ALICE, **files))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"mtuu": 1400}, "transport.mtuu; did you mean transport.mtu"),
        ({"mtu": 5}, "mtu must be 600..9000"),
        ({"sctp": {"congestion": "bbr"}}, "congestion must be 'newreno' or 'cubic'"),
        ({"sctp": {"congestion": 5}}, "transport.sctp.congestion must be str"),
        ({"keylog": "x"}, "transport.keylog cannot be set"),
        ({"sctp": {"mtu": 900}}, "transport.sctp.mtu is not used: transport.mtu decides"),
        ({"sctp": {"local_port": 1}}, "transport.sctp.local_port is not used: a=sctp-port decides"),
        ({"sctp": {"max_message_size": 1}}, "not used: a=max-message-size decides it"),
        (
            {"sctp": {"peer_timeout_s": 1.0}},
            "transport.sctp.peer_timeout_s is not used: transport.peer_timeout_s decides",
        ),
        ({"sctp": {"receive_window": 1500}}, "transport.sctp: .* than receive_window, 1500"),
        ({"sctp": {"rto_initial_s": 0.1}}, "than rto_initial_s, 0.1"),
        ({"sctp": {"rto_max_s": 0.5}}, "than rto_max_s, 0.5"),
        ({"sctp": {"rto_min_s": 5.0}}, "transport.sctp: rto_min_s, 5.0, must not"),
    ],
)
def test_a_transport_setting_that_cannot_be_is_refused_by_name(
    settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        Client(ClientConfig(public_identity=ALICE, transport=settings))


async def test_the_association_engine_gets_the_transport_settings(board: Switchboard) -> None:
    class Mine(NewReno):
        made = 0

        def __init__(self, *sizes: int) -> None:
            super().__init__(*sizes)
            Mine.made += 1

    settings = {"mtu": 1300, "sctp": {"congestion": Mine}}
    async with a_pair(board, transport=settings) as (calling, answered):
        opening = asyncio.create_task(calling.open(label="x"))
        await (await anext(answered.incoming())).accept()
        await opening
        (stats,) = calling.stats().values()
    assert Mine.made == 2
    assert stats.sctp is not None
    assert 1200 < stats.sctp.mtu < 1300


async def test_a_client_that_cannot_start_is_closed(board: Switchboard) -> None:
    board.start_error = TransportError("nobody there")
    config = ClientConfig(public_identity=ALICE, signalling="memory")
    client = Client(config, registry=Registry.load(plugins=[board]))
    with pytest.raises(TransportError, match="nobody there"):
        async with client:
            pytest.fail("it is not running")
    assert client._signalling.is_closed  # type: ignore[attr-defined]


async def test_closing_goes_on_when_the_network_does_not_answer(
    board: Switchboard, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_client(board) as client:
        board.deregister_error = OperationTimeout("no answer")
        await client.aclose()
        await client.aclose()
        assert signalling_of(board, client).is_closed
    assert "no answer" in caplog.text


async def test_a_key_log_is_written_for_the_life_of_the_client(
    board: Switchboard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keylog = tmp_path / "keys.log"
    with caplog.at_level(logging.WARNING):
        async with a_pair(board, keylog=keylog) as (session, answered):
            opening = asyncio.create_task(session.open(label="x"))
            await (await anext(answered.incoming())).accept()
            await opening
    assert keylog.read_text().count("CLIENT_RANDOM ") == 2
    assert str(keylog) in caplog.text


# --- registration ---------------------------------------------------------------------------------
async def test_capabilities_follow_refreshes(board: Switchboard) -> None:
    events: list[Event] = []
    async with a_client(board, events=events, e2dce_tokens=True) as client:
        registration = client.registration
        assert registration is not None
        line = signalling_of(board, client)
        assert registration.capabilities.is_agreed("data_channel", SecurityScope.E2DCE)
        assert line.request is not None and line.on_refreshed is not None
        board.feature_caps = "*;+g.other"
        line.on_refreshed(board.grant(line.request, ALICE))
        assert not registration.capabilities.data_channel.is_network
        assert client.registration is registration
        assert [type(event) for event in events] == [RegistrationChanged, RegistrationChanged]
        with pytest.raises(UnsupportedByNetwork):
            await client.call(BOB)


async def test_a_refresh_that_crosses_deregistration_is_nothing(board: Switchboard) -> None:
    events: list[Event] = []
    async with a_client(board, events=events) as client:
        line = signalling_of(board, client)
        await client.deregister()
        assert line.request is not None and line.on_refreshed is not None
        line.on_refreshed(board.grant(line.request, ALICE))
        assert client.registration is None
        assert len(events) == 1


async def test_a_lost_registration_is_told_and_calls_are_refused(board: Switchboard) -> None:
    events: list[Event] = []
    async with a_client(board, events=events) as client:
        line = signalling_of(board, client)
        assert line.on_lost is not None
        line.on_lost(OperationTimeout("gone"))
        assert client.registration is None
        assert isinstance(events[-1], RegistrationLost)
        with pytest.raises(LocalProtocolError, match="not registered"):
            await client.call(BOB)


@pytest.mark.clause("TS 24.229 5.1.1.4")
async def test_a_registration_is_refreshed_before_it_ends(quick_network: Network) -> None:
    events: asyncio.Queue[Event] = asyncio.Queue()
    config = quick_network.client_config("alice", register_expires_s=1)
    async with Client(config, on_event=events.put_nowait) as client, asyncio.timeout(10):
        registration = await client.register()
        assert registration.expires_s == 1
        for _ in range(3):
            assert isinstance(await events.get(), RegistrationChanged)
        assert client.registration is registration


@pytest.fixture
async def quick_network() -> Any:
    """A network whose registrations are short."""
    from dcsdk.emulator import NetworkConfig

    async with Network(NetworkConfig.demo(min_expires_s=1, max_expires_s=1)) as network:
        yield network


# --- calls ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "error",
    [
        OperationTimeout("nobody answered"),
        CallRejected("busy", status=486),
        TransportError("no connection"),
    ],
)
async def test_what_signalling_says_of_a_call_reaches_the_program(
    board: Switchboard, error: Exception
) -> None:
    board.call_error = error
    async with a_client(board) as client:
        with pytest.raises(type(error), match=str(error)):
            await client.call(BOB)
        assert client._sessions == set()


async def test_several_media_are_several_lines(board: Switchboard) -> None:
    async with a_pair(board, [DataChannels(), DataChannels()]) as (session, answered):
        assert len(session.streams) == len(answered.streams) == 2
        assert {stream.app.stream_ids for stream in session.streams} == {(0, 10)}


async def invited(board: Switchboard, client: Client, **changes: Any) -> MemoryInvitation:
    """Have an invitation arrive whose attributes are changed."""
    invitation = MemoryInvitation(None, BOB, "by hand")
    for name, value in changes.items():
        setattr(invitation, name, value)
    signalling_of(board, client).calls.put(invitation)
    return invitation


@pytest.mark.clause("RFC 3264 4")
async def test_an_invite_without_an_offer_is_answered_488(board: Switchboard) -> None:
    async with a_client(board) as client:
        invitation = await invited(board, client)
        call = await anext(client.incoming())
        assert call.call_id == "by hand" and call.remote_uri == call.asserted_identity == BOB
        await call.ring()
        with pytest.raises(NegotiationError, match="no offer"):
            await call.accept()
        assert invitation.rejected_with == 488
        assert await call.wait_ended() == "it was rejected"


async def test_a_refusal_that_cannot_be_sent_is_logged(
    board: Switchboard, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_client(board) as client:
        await invited(board, client, reject_error=TransportError("no connection"))
        with pytest.raises(NegotiationError):
            await (await anext(client.incoming())).accept()
    assert "488 not sent: no connection" in caplog.text


async def test_a_call_that_was_taken_back_is_not_refused_as_well(board: Switchboard) -> None:
    async with a_client(board) as alice, a_client(board, BOB) as bob:
        calling = asyncio.create_task(alice.call(BOB))
        call = await anext(bob.incoming())
        call._invitation.accept_error = CallRejected("gone", status=487)  # type: ignore[attr-defined]
        with pytest.raises(CallRejected):
            await call.accept()
        assert call._invitation.rejected_with is None  # type: ignore[attr-defined]
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert alice._sessions == bob._sessions == set()


async def test_incoming_calls_end_with_the_client(board: Switchboard) -> None:
    async with a_client(board) as client:
        waiting = asyncio.create_task(anext(client.incoming(), None))
        await asyncio.sleep(0)
        await client.aclose()
        assert await waiting is None


@pytest.mark.clause("TS 24.229 5.1.1.6")
@pytest.mark.parametrize("error", [TransportError("no connection"), RuntimeError("a bug")])
async def test_a_client_deregisters_though_a_call_cannot_be_closed(
    board: Switchboard, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    class Broken:
        async def aclose(self, timeout_s: float) -> None:
            raise error

    async with a_client(board) as client:
        client._sessions.add(Broken())  # type: ignore[arg-type]
        board.deregister_error = TransportError("deregistering was tried")
    assert str(error) in caplog.text
    assert "deregistering was tried" in caplog.text
    assert signalling_of(board, client).is_closed
