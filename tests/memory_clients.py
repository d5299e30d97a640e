"""Clients on a switchboard, and calls between them: no SIP, no emulated network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dcsdk import Client, ClientConfig, Event, MediaIntent, Registry, Session
from dcsdk.sdp.session import SessionDescription
from tests.memory_signalling import MemoryDialog, MemorySignalling, Switchboard

ALICE, BOB = "sip:alice@ims.example", "sip:bob@ims.example"


@asynccontextmanager
async def a_client(
    board: Switchboard,
    identity: str = ALICE,
    *,
    register: bool = True,
    events: list[Event] | None = None,
    plugins: Sequence[object] = (),
    **values: Any,
) -> AsyncIterator[Client]:
    """A client of the switchboard, registered unless told otherwise."""
    config = ClientConfig(
        **{
            "public_identity": identity,
            "signalling": "memory",
            "allow_standalone_dc": True,
            "close_timeout_s": 0.5,
            **values,
        }
    )
    told = [] if events is None else events
    async with Client(
        config, registry=Registry.load(plugins=[board, *plugins]), on_event=told.append
    ) as it:
        if register:
            await it.register()
        yield it


def signalling_of(board: Switchboard, client: Client) -> MemorySignalling:
    """The client's line to the switchboard."""
    return board.lines[client.config.public_identity]


@asynccontextmanager
async def a_pair(
    board: Switchboard,
    media: Sequence[MediaIntent] = (),
    *,
    takes: Sequence[MediaIntent] = (),
    **values: Any,
) -> AsyncIterator[tuple[Session, Session]]:
    """Two sessions of one call; values are fields of both configurations."""
    async with a_client(board, ALICE, **values) as alice, a_client(board, BOB, **values) as bob:
        calling = asyncio.create_task(alice.call(BOB, media))
        answered = await (await anext(bob.incoming())).accept(takes)
        async with await calling as session, answered:
            yield session, answered


def dialog_of(session: Session) -> MemoryDialog:
    """The session's side of the dialog."""
    dialog = session._dialog
    assert isinstance(dialog, MemoryDialog)
    return dialog


async def offer_of(session: Session) -> SessionDescription:
    """What the session would offer now; the offer comes to nothing here."""
    exchange = await session._negotiation.offer(())
    await exchange.rollback()
    return exchange.description
