"""Application lists and mini-apps over bootstrap channels (TS 23.228 AC.7.1, TS 26.114 6.2.10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcsdk import (
    AppEntry,
    CallRejected,
    Client,
    NegotiationError,
    ParseError,
    UnsupportedByPeer,
)
from dcsdk.emulator import Network, NetworkConfig
from tests.scenarios.calls import Ue, WatchedMedia, a_call, network_with
from tests.scenarios.conftest import MakeUe


@pytest.mark.clause("TS 23.228 AC.7.1", "TS 26.114 6.2.10.1")
async def test_the_html_list_leads_to_the_mini_apps(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (session, _):
        entries = await session.bootstrap.applications()
        assert {entry.app_id for entry in entries} == {"whiteboard", "file-drop"}
        for entry in entries:
            app = await session.bootstrap.fetch(entry)
            stored = ims_network.dcsf.repository.get(entry.app_id)
            assert stored is not None
            assert app.body == stored.files["index.html"]
            assert app.app_id == entry.app_id and app.content_type.startswith("text/html")
            assert app.etag == stored.etag


@pytest.mark.clause("RFC 9110 13.1.2")
async def test_a_mini_app_that_is_unchanged_is_not_sent_again(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (session, _):
        (entry, *_) = await session.bootstrap.applications()
        known = await session.bootstrap.fetch(entry)
        assert await session.bootstrap.fetch(entry, known=known) is known
        answers = [event.summary for event in ims_network.trace if event.protocol == "DC"]
        assert any(summary.startswith("304") for summary in answers)


@pytest.mark.clause("TS 26.114 6.2.10.1")
async def test_each_bootstrap_channel_has_a_client_of_its_own(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        assert session.bootstrap.stream_ids == (0, 10)
        for stream_id in (0, 10):
            client = session.bootstrap.client(stream_id)
            assert (await client.get("http://localhost/")).status_code == 200
            assert session.bootstrap.client(stream_id) is client
        with pytest.raises(UnsupportedByPeer):
            session.bootstrap.client(100)
        assert answered.bootstrap.stream_ids == (0,)
        with pytest.raises(UnsupportedByPeer):
            answered.bootstrap.client(10)


@pytest.mark.clause("TS 23.228 AC.7.1")
async def test_what_the_network_does_not_have_is_an_error(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, _):
        with pytest.raises(NegotiationError, match="404"):
            await session.bootstrap.fetch(AppEntry(app_id="none", name="none", url="/apps/none/"))
        for url in ("//elsewhere/", "https://elsewhere/", "apps"):
            with pytest.raises(ParseError):
                await session.bootstrap.fetch(AppEntry(app_id="none", name="none", url=url))
        assert await session.bootstrap.applications(), "the channel is as good as before"


@pytest.mark.clause("TS 23.228 AC.7.1")
async def test_the_json_a_flavour_lists_and_fetches_packages(
    ims_network: Network, make_ue: MakeUe
) -> None:
    alice, bob = await make_ue("alice", list_provider="json_a"), await make_ue("bob")
    async with a_call(alice, bob) as (session, _):
        entries = await session.bootstrap.applications()
        assert {entry.app_id for entry in entries} == {"whiteboard", "file-drop"}
        app = await session.bootstrap.fetch(entries[0])
        assert app.is_package and "index.html" in app.files()
        stored = ims_network.dcsf.repository.get(entries[0].app_id)
        assert stored is not None and app.body == stored.package
        assert await session.bootstrap.fetch(entries[0], known=app) is app


@pytest.mark.clause("TS 23.228 AC.7.1")
async def test_the_application_list_of_an_operator_is_its_own_folder(
    tmp_path: Path,
) -> None:
    page = tmp_path / "apps" / "tic-tac-toe" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<h1>play</h1>")
    async with (
        Network(NetworkConfig.demo(apps=tmp_path / "apps")) as network,
        Client(network.client_config("alice")) as alice,
        Client(network.client_config("bob")) as bob,
    ):
        for client in (alice, bob):
            await client.register()
        ends = [Ue(client, WatchedMedia()) for client in (alice, bob)]
        async with a_call(*ends) as (session, _):
            (entry,) = await session.bootstrap.applications()
            assert entry.app_id == "tic-tac-toe"
            assert (await session.bootstrap.fetch(entry)).body == page.read_bytes()


@pytest.mark.clause("TS 23.228 AC.7.1", "TS 24.186 9.3.2.2")
@network_with("mrm-503")
async def test_without_a_media_function_there_is_no_bootstrap(alice: Ue, bob: Ue) -> None:
    with pytest.raises(CallRejected) as caught:
        await alice.client.call(bob.client.config.public_identity)
    assert caught.value.status == 488
    assert alice.media.bytes_sent == 0
