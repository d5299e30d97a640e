"""The whole emulated network, with real clients."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from dcsdk import (
    CallRejected,
    Client,
    ClientConfig,
    DcsdkError,
    SecurityScope,
    Session,
    UnsupportedByPeer,
)
from dcsdk.emulator import Network, NetworkConfig, serve
from dcsdk.emulator.lab.trace_sdp import security_lines
from dcsdk.errors import ConfigError, LocalProtocolError
from dcsdk.sdp.session import SessionDescription
from dcsdk.testing import UeFactory

BOB = "sip:bob@ims.example"


async def accept_next(source: Any) -> Any:
    return await (await anext(source.incoming())).accept()


async def call(alice: Client, bob: Client) -> tuple[Session, Session]:
    one, other = await asyncio.gather(alice.call(BOB), accept_next(bob))
    return one, other


@pytest.mark.parametrize("ims_network", [{"host": "127.0.0.1"}, {"host": "::1"}], indirect=True)
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.clause("TS 23.228 AC.7.1")
@pytest.mark.clause("TS 23.228 AC.7.2.1")
async def test_a_call_with_lists_on_both_sides_and_an_application_channel(
    ims_network: Network, ue_factory: UeFactory, transport: str
) -> None:
    alice = await ue_factory("alice", pcscf_transport=transport)
    bob = await ue_factory("bob", pcscf_transport=transport)
    caller, callee = await call(alice, bob)
    async with caller, callee:
        for session in (caller, callee):
            assert await session.bootstrap.applications()
            assert [stream.security.scope for stream in session.streams] == [SecurityScope.E2DCE]
            for stream in session.streams:
                truth = ims_network.scope_of(stream.security.peer_fingerprint)
                assert truth is SecurityScope.E2DCE
        chat, echo = await asyncio.gather(callee.open(label="chat"), accept_next(caller))
        await chat.send("hello")
        assert await echo.receive() == "hello"
        assert ims_network.scope_of(chat.security.peer_fingerprint) is SecurityScope.E2E
        assert ims_network.dcmf.context_count == 2
        assert len(ims_network.ims_as.calls) == 2
    await ims_network.trace.wait_for(
        lambda event: event.destination == "DCMF" and event.summary.startswith("DELETE")
    )
    assert ims_network.scope_of("") is SecurityScope.NONE


async def test_what_sdp_said_about_security_can_be_shown(
    ims_network: Network, ue_factory: UeFactory
) -> None:
    alice, bob = await ue_factory("alice"), await ue_factory("bob")
    caller, callee = await call(alice, bob)
    titles = [title for title, _ in ims_network.last_security_lines()]
    assert titles == [
        "alice -> P-CSCF: INVITE",
        "P-CSCF -> bob: INVITE",
        "bob -> P-CSCF: 200 OK (INVITE)",
        "P-CSCF -> alice: 200 OK (INVITE)",
    ]
    assert ims_network.last_security_lines() == []
    await asyncio.gather(caller.aclose(), callee.aclose())
    assert security_lines(b"nothing") == []


@pytest.mark.parametrize("ims_network", [{"data_channels": False}], indirect=True)
@pytest.mark.clause("E15")
async def test_a_network_without_data_channels_is_told_apart(
    ims_network: Network, ue_factory: UeFactory
) -> None:
    alice = await ue_factory("alice")
    with pytest.raises(DcsdkError):
        await alice.call(BOB)
    assert ims_network.scope_of("sha-256 00") is SecurityScope.E2E
    assert not [event for event in ims_network.trace if event.summary == "INVITE"]


@pytest.mark.parametrize("ims_network", [{"unknown_app": "REJECT"}], indirect=True)
async def test_an_application_that_policy_refuses_leaves_the_session_as_it_is(
    ims_network: Network, ue_factory: UeFactory
) -> None:
    alice, bob = await ue_factory("alice"), await ue_factory("bob")
    caller, callee = await call(alice, bob)
    async with caller, callee:
        with pytest.raises((CallRejected, UnsupportedByPeer)):
            await caller.open(label="chat")
        assert await caller.bootstrap.applications()


@pytest.mark.parametrize("ims_network", [{"faults": ("mrm-503",)}], indirect=True)
async def test_without_a_media_function_a_call_of_bootstrap_lines_is_refused(
    ims_network: Network, ue_factory: UeFactory
) -> None:
    alice, _ = await ue_factory("alice"), await ue_factory("bob")
    with pytest.raises(CallRejected) as caught:
        await alice.call(BOB)
    assert caught.value.status == 488


@pytest.mark.parametrize("ims_network", [{"faults": ("dcmf-vanishes",)}], indirect=True)
async def test_a_dcmf_that_vanishes_is_silent(ims_network: Network, ue_factory: UeFactory) -> None:
    alice, bob = await ue_factory("alice"), await ue_factory("bob")
    caller, callee = await call(alice, bob)
    async with caller, callee:
        assert await caller.bootstrap.applications()
        ims_network.vanish_dcmf()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await caller.bootstrap.applications()


async def test_only_a_network_with_that_fault_can_lose_its_dcmf(ims_network: Network) -> None:
    with pytest.raises(LocalProtocolError, match="dcmf-vanishes"):
        ims_network.vanish_dcmf()


# --- what the SDP faults do ----------------------------------------------------------------------
def answer_to_alice(network: Network) -> SessionDescription:
    """The last answer that alice got."""
    return _body(network, "200 OK (INVITE)", "alice")


def offer_to_bob(network: Network) -> SessionDescription:
    """The last offer that bob got."""
    return _body(network, "INVITE", "bob")


def _body(network: Network, summary: str, to: str) -> SessionDescription:
    event = [
        event
        for event in network.trace
        if (event.source, event.destination, event.summary) == ("P-CSCF", to, summary)
    ][-1]
    return SessionDescription.parse(event.data.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("ims_network", [{"faults": ("D11",)}], indirect=True)
async def test_a_fault_of_answers_reaches_the_caller_only(
    ims_network: Network, ue_factory: UeFactory
) -> None:
    alice, bob = await ue_factory("alice"), await ue_factory("bob")
    results = await asyncio.gather(alice.call(BOB), accept_next(bob), return_exceptions=True)
    for result in results:
        if isinstance(result, Session):
            await result.aclose()
    assert answer_to_alice(ims_network).media[0].is_rejected
    assert not offer_to_bob(ims_network).media[0].is_rejected


@pytest.mark.parametrize("ims_network", [{"faults": ("D2-offer",)}], indirect=True)
async def test_a_fault_of_offers_reaches_the_callee_only(
    ims_network: Network, ue_factory: UeFactory
) -> None:
    alice, bob = await ue_factory("alice"), await ue_factory("bob")
    caller, callee = await call(alice, bob)
    assert [item.stream_id for item in offer_to_bob(ims_network).media[0].dcmaps] == [0, 5]
    answered = answer_to_alice(ims_network).media[0].dcmaps
    assert 5 not in [item.stream_id for item in answered]
    await asyncio.gather(caller.aclose(), callee.aclose())


# --- starting and stopping -----------------------------------------------------------------------
async def test_a_network_can_be_started_and_stopped_twice_over(tmp_path: Path) -> None:
    config = NetworkConfig.demo(folder=tmp_path / "ims", database=tmp_path / "hss.db")
    authority = None
    for _ in range(2):
        async with Network(config) as network:
            text = network.ca_file.read_text()
            assert authority in (None, text)
            authority = text
            assert network.ports().keys() == {"udp", "tcp", "tls"}
            assert "ims.example" in network.summary()
        await network.aclose()


async def test_a_busy_port_is_one_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"tls_port {port} of 127.0.0.1 cannot be used"):
            async with Network(NetworkConfig.demo(tls_port=port)):
                pass


async def test_what_is_asked_of_a_network_that_is_not_running_or_not_there() -> None:
    network = Network(NetworkConfig.demo(udp_port=None))
    with pytest.raises(LocalProtocolError):
        _ = network.ca_file
    with pytest.raises(LocalProtocolError):
        network.client_config("alice")
    async with network:
        with pytest.raises(ConfigError, match="no subscriber 'carol'; there are: alice, bob"):
            network.client_config("carol")
        with pytest.raises(LocalProtocolError, match="udp"):
            network.client_config("alice", pcscf_transport="udp")
        config = network.client_config("alice", pcscf_transport="tcp", call_timeout_s=3)
        assert config.allow_unprotected_signalling and config.call_timeout_s == 3.0
        assert not network.client_config("alice").allow_unprotected_signalling


async def test_an_engine_that_is_not_loaded_is_refused() -> None:
    with pytest.raises(ConfigError, match="no association engine called 'magic'"):
        async with Network(NetworkConfig.demo(engine="magic")):
            pass


async def test_a_key_log_is_written_by_the_network(tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    async with (
        Network(NetworkConfig.demo(keylog=keylog)) as network,
        Client(network.client_config("alice")) as alice,
    ):
        await alice.register()
    assert b"CLIENT_" in keylog.read_bytes() or b"SERVER_" in keylog.read_bytes()


# --- serve ---------------------------------------------------------------------------------------
async def served(config: NetworkConfig, stop: asyncio.Event) -> tuple[asyncio.Task[None], Any]:
    """Run ``serve`` and wait for its line."""
    output = io.StringIO()
    ready = asyncio.Event()
    write = output.write

    def note(text: str) -> int:
        ready.set()
        return write(text)

    output.write = note  # type: ignore[method-assign]
    task = asyncio.ensure_future(serve(config, output=output, stop=stop))
    async with asyncio.timeout(10):
        await ready.wait()
    return task, json.loads(output.getvalue())


async def test_a_served_network_says_where_it_is_and_leaves_client_files(tmp_path: Path) -> None:
    stop = asyncio.Event()
    task, ready = await served(NetworkConfig.demo(folder=tmp_path), stop)
    assert ready["ready"] is True and ready["ports"].keys() == {"udp", "tcp", "tls"}
    assert ready["users"]["bob"]["public_identity"] == BOB
    path = ready["users"]["alice"]["config"]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    config = ClientConfig.load(path)
    assert config.pcscf_port == ready["ports"]["tls"] and config.pcscf_transport == "tls"
    async with Client(config) as alice:
        await alice.register()
    stop.set()
    await task


async def test_a_served_network_without_tls_says_so_in_its_client_files(tmp_path: Path) -> None:
    stop = asyncio.Event()
    config = NetworkConfig.demo(folder=tmp_path, tls_port=None, tcp_port=None)
    task, ready = await served(config, stop)
    client = ClientConfig.load(ready["users"]["alice"]["config"])
    assert client.pcscf_transport == "udp" and client.allow_unprotected_signalling
    stop.set()
    await task


async def test_a_served_network_that_is_cancelled_closes() -> None:
    task, ready = await served(NetworkConfig.demo(), asyncio.Event())
    assert ready["folder"] is None and "config" not in ready["users"]["alice"]
    task.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await task
    with socket.socket() as sock:
        assert sock.connect_ex((ready["host"], ready["ports"]["tls"])) != 0


async def test_client_files_that_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "alice.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot write"):
        await serve(NetworkConfig.demo(folder=tmp_path), output=io.StringIO())


# --- fixtures ------------------------------------------------------------------------------------
def test_fixtures_come_with_the_installed_package(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        @pytest.mark.parametrize("ims_network", [{"e2dce_tokens": False}], indirect=True)
        async def test_it(ims_network, ue_factory):
            alice = await ue_factory("alice")
            bob = await ue_factory("bob", register=False)
            assert ims_network.hss.bindings("sip:alice@ims.example", now=0)
            assert not ims_network.hss.bindings("sip:bob@ims.example", now=0)
        """
    )
    options = ["-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]
    result = pytester.runpytest_inprocess(*options)
    result.assert_outcomes(passed=1)
