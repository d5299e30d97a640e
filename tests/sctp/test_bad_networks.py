"""Whatever the network does, content arrives byte-identical and in order."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcsdk.sctp import SctpConfig
from tests.sctp.network import Link, Network

LINKS = st.builds(
    Link,
    delay_s=st.sampled_from([0.0001, 0.01, 0.1]),
    jitter_s=st.sampled_from([0.0, 0.002, 0.05]),
    loss=st.sampled_from([0.0, 0.01, 0.1, 0.3]),
    duplication=st.sampled_from([0.0, 0.1]),
    corruption=st.sampled_from([0.0, 0.05]),
    bytes_per_s=st.sampled_from([0.0, 200_000.0]),
    queue_bytes=st.sampled_from([20_000, 1 << 30]),
)
SIZES = st.lists(
    st.one_of(st.integers(1, 300), st.integers(1000, 1300), st.integers(2000, 40_000)),
    min_size=1,
    max_size=25,
)


def config_for(interleaving: bool, newreno: bool) -> SctpConfig:
    """Return a configuration that never gives up on a bad network."""
    return SctpConfig(
        is_interleaving_offered=interleaving,
        congestion="newreno" if newreno else "cubic",
        max_retrans=100,
        max_init_retrans=100,
        rto_max_s=5.0,
        receive_window=100_000,
        max_message_size=50_000,
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    link=LINKS,
    back=LINKS,
    sizes=SIZES,
    seed=st.integers(0, 2**16),
    interleaving=st.booleans(),
    newreno=st.booleans(),
)
def test_content_is_identical_on_random_networks(
    link: Link, back: Link, sizes: list[int], seed: int, interleaving: bool, newreno: bool
) -> None:
    network = Network(config_for(interleaving, newreno), link=link, back=back, seed=seed)
    network.connect(until_s=1000)
    assert network.is_established()
    content = random.Random(seed)
    sent: dict[tuple[str, int], list[bytes]] = defaultdict(list)
    for number, size in enumerate(sizes):
        for peer, name in ((network.left, "left"), (network.right, "right")):
            stream_id = number % 3
            data = content.randbytes(size)
            sent[name, stream_id].append(data)
            peer.association.send(stream_id, 53, data, priority=128 << stream_id, now=network.now)
    network.run(
        until_s=3000,
        until=lambda: (
            len(network.left.messages) >= len(sizes)
            and len(network.right.messages) >= len(sizes)
            and network.left.association.is_idle
            and network.right.association.is_idle
        ),
    )
    for name, peer in (("left", network.right), ("right", network.left)):
        for stream_id in range(3):
            received = [m.data for m in peer.messages if m.stream_id == stream_id]
            assert received == sent[name, stream_id]
        stats = peer.association.stats()
        assert stats.in_flight_bytes == 0
        assert stats.queued_bytes == 0
        assert stats.receive_buffered_bytes == 0


@pytest.mark.clause("RFC 9260 9.2")
@settings(max_examples=25, deadline=None)
@given(link=LINKS, seed=st.integers(0, 2**16), sizes=SIZES)
def test_shutdown_delivers_everything_first(link: Link, seed: int, sizes: list[int]) -> None:
    network = Network(config_for(True, False), link=link, seed=seed)
    network.connect(until_s=1000)
    for size in sizes:
        network.left.association.send(1, 53, bytes(size), now=network.now)
    network.left.association.shutdown(now=network.now)
    network.run(until_s=3000)
    assert [len(message.data) for message in network.right.messages] == sizes
    assert network.left.association.state.value == "closed"
    assert network.right.association.state.value == "closed"
