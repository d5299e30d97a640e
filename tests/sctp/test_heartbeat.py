"""Path MTU by padded heartbeats (RFC 8261 6.2)."""

from __future__ import annotations

import pytest

from dcsdk.sctp import SctpConfig
from dcsdk.sctp.chunks import ChunkType
from dcsdk.sctp.heartbeat import MTU_RAISE_INTERVAL_S, PROBE_STEP
from tests.sctp.network import Network, Peer


def network_with_mtu(mtu: int, *, max_mtu: int = 1400) -> Network:
    """Return an established network that drops packets above ``mtu``."""
    network = Network(SctpConfig(is_pmtu_probing=True, max_mtu=max_mtu))

    def drop_large(sender: Peer, packet: bytes) -> bytes | None:
        return packet if len(packet) <= mtu else None

    network.on_packet = drop_large
    network.connect()
    return network


@pytest.mark.clause("RFC 8899 5.3")
@pytest.mark.parametrize("mtu", [1160, 1200, 1300, 1399, 1400, 9000])
def test_the_largest_packet_that_passes_is_found(mtu: int) -> None:
    network = network_with_mtu(mtu)
    network.advance(60)
    found = network.left.association.stats().mtu
    assert min(mtu, 1400) - PROBE_STEP - 4 < found <= min(mtu, 1400)
    assert found % 4 == 0
    network.left.sent_packets.clear()
    network.left.association.send(1, 53, bytes(20_000), now=network.now)
    network.run(until_s=5)
    assert max(map(len, network.left.sent_packets)) == found
    assert [len(m.data) for m in network.right.messages] == [20_000]


def test_probes_that_get_lost_are_no_error() -> None:
    network = network_with_mtu(1160)
    network.advance(20)
    assert network.left.association.stats().error_count == 0
    assert network.is_established()


@pytest.mark.clause("RFC 8899 5.1.1")
def test_a_larger_size_is_tried_again_after_a_while() -> None:
    network = network_with_mtu(1160)
    network.advance(60)
    network.on_packet = None
    network.advance(MTU_RAISE_INTERVAL_S + 60)
    assert network.left.association.stats().mtu > 1400 - PROBE_STEP


def test_without_the_option_nothing_is_probed() -> None:
    network = Network(SctpConfig(max_mtu=1400))
    network.connect()
    network.advance(20)
    assert not network.left.sent_chunks(ChunkType.PAD)
