"""The data-channel transport by itself: two associations, no SIP, no IMS network.

What signalling would carry (address, fingerprint, who is the DTLS client) is handed over directly.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from dcsdk.transport import (
    Association,
    Certificate,
    ChannelParameters,
    DtlsRole,
    DtlsSctpParameters,
    EngineConfig,
    NativeEngine,
    SctpConfig,
)

HOST = "127.0.0.1"


async def connect(engine: NativeEngine) -> tuple[Association, Association]:
    """Bring up both ends of an association on loopback."""
    certificates = [Certificate.generate(), Certificate.generate()]
    paths = [await engine.bind_path(HOST), await engine.bind_path(HOST)]
    ends = [engine.create(paths[i], certificates[i], None) for i in (0, 1)]
    roles: tuple[DtlsRole, DtlsRole] = ("client", "server")
    for i in (0, 1):
        ends[i].start(
            DtlsSctpParameters(
                dtls_role=roles[i],
                remote_address=paths[1 - i].local_address,
                remote_fingerprints=(certificates[1 - i].fingerprint,),
                local_tls_id=None,
                remote_tls_id=None,
            )
        )
    for end in ends:
        await end.wait_established(timeout_s=5)
    return ends[0], ends[1]


async def answer(end: Association, arrived: list[str]) -> None:
    """Take the next channel that the peer opens, and note what comes."""
    async for channel in end.incoming_channels():
        async for _ in channel:
            arrived.append(channel.label)
        return


async def main() -> None:
    """Send a file, and a text after it: the text does not wait for the file."""
    engine = NativeEngine(EngineConfig(sctp=SctpConfig(congestion="newreno")))
    alice, bob = await connect(engine)
    arrived: list[str] = []
    async with aclosing(alice), aclosing(bob), asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(answer(bob, arrived))
        file = alice.open_channel(ChannelParameters(label="file", is_negotiated=False))
        text = alice.open_channel(
            ChannelParameters(label="text", priority=1024, max_time_ms=500, is_negotiated=False)
        )
        for _ in range(16):
            await file.send(bytes(65_536), timeout_s=5)
        await text.send("hello")
        await asyncio.gather(file.aclose(), text.aclose())
        print(f"the text came after {arrived.index('text')} of 16 pieces of the file")
        stats = alice.stats()
        if stats.sctp is not None:
            print(f"{stats.sctp.packets_sent} packets, {stats.sctp.smoothed_rtt_s * 1e3:.1f} ms")
        print("protected:", alice.report.suite)


if __name__ == "__main__":
    asyncio.run(main())
