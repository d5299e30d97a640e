"""What stands in a capture of a path."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from dcsdk.ice.config import IceConfig
from dcsdk.interfaces import Address
from dcsdk.io.capture import Capture, udp_packet
from dcsdk.io.net.captured_socket import CapturedUdpSocket
from dcsdk.io.net.ice import IcePath
from dcsdk.io.net.udp import UdpPath
from dcsdk.io.net.udp_socket import UdpSocket

from ..test_capture import ENHANCED_PACKET, blocks_of
from .test_ice import introduce
from .test_udp import TIMEOUT_S, Sink


def packets_of(path: Path) -> list[bytes]:
    return [body[20:].rstrip(b"\0") for kind, body in blocks_of(path) if kind == ENHANCED_PACKET]


def without_checksum(source: Address, destination: Address, payload: bytes) -> bytes:
    return udp_packet(source, destination, payload).rstrip(b"\0")


async def test_both_directions_of_a_path_are_captured(tmp_path: Path) -> None:
    file, seen, sink = tmp_path / "path.pcapng", Sink(), Sink()
    with (
        closing(Capture(file)) as capture,
        closing(UdpPath.bind("127.0.0.1", capture=capture)) as path,
        closing(UdpPath.bind("127.0.0.1")) as peer,
    ):
        path.attach(seen)
        peer.attach(sink)
        here, there = path.local_address, peer.local_address
        path.send(b"lost", 4)  # nobody knows yet where to
        peer.set_remote(here)
        path.set_remote(there)
        path.send(b"aaaabbbbcc", 4)
        await sink.wait_for(3)
        peer.send(b"answer", 6)
        await seen.wait_for(1)
        path.close()
        path.send(b"late", 4)
    assert packets_of(file) == [
        *(without_checksum(here, there, data) for data in (b"aaaa", b"bbbb", b"cc")),
        without_checksum(there, here, b"answer"),
    ]


async def test_a_path_with_ice_is_captured_with_its_checks(tmp_path: Path) -> None:
    file, sink = tmp_path / "ice.pcapng", Sink()
    with (
        closing(Capture(file)) as capture,
        closing(IcePath.bind("127.0.0.1", config=IceConfig(), capture=capture)) as path,
        closing(IcePath.bind("127.0.0.1")) as peer,
    ):
        peer.attach(sink)
        introduce(path, peer)
        await path.wait_selected(TIMEOUT_S)
        await peer.wait_selected(TIMEOUT_S)
        path.set_remote(peer.local_address)
        peer.set_remote(path.local_address)
        path.send(b"\x17data", 5)
        await sink.wait_for(1)
    packets = packets_of(file)
    assert any(packet.endswith(b"\x17data") for packet in packets)
    magic_cookie = bytes.fromhex("2112a442")
    assert sum(magic_cookie in packet for packet in packets) >= 4


async def test_who_does_not_capture_has_the_plain_socket() -> None:
    with closing(UdpPath.bind("127.0.0.1")) as path:
        assert type(path._udp) is UdpSocket
        assert not isinstance(path._udp, CapturedUdpSocket)
