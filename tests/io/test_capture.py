"""Captures: what stands in the file, and that a full disk ends the capture and nothing else."""

from __future__ import annotations

import logging
import shutil
import stat
import struct
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from dcsdk.errors import ConfigError
from dcsdk.io.capture import (
    DECRYPTION_SECRETS,
    ENHANCED_PACKET,
    INTERFACE_DESCRIPTION,
    MAX_MESSAGE_BYTES,
    SECTION_HEADER,
    Capture,
    tcp_packet,
    udp_packet,
)

ONE, OTHER = ("192.0.2.1", 4000), ("192.0.2.2", 4001)


def blocks_of(path: Path) -> list[tuple[int, bytes]]:
    data, found, position = path.read_bytes(), [], 0
    while position < len(data):
        kind, length = struct.unpack_from("<II", data, position)
        assert struct.unpack_from("<I", data, position + length - 4) == (length,)
        found.append((kind, data[position + 8 : position + length - 4]))
        position += length
    return found


def test_secrets_stand_before_the_packets_they_open(tmp_path: Path) -> None:
    path = tmp_path / "call.pcapng"
    capture = Capture(path, clock=lambda: 1_700_000_000.5)
    capture.secret(b"CLIENT_RANDOM 00 11")
    capture.datagrams(ONE, OTHER, b"aaaabbbbcc", 4)
    capture.close()
    blocks = blocks_of(path)
    assert [kind for kind, _ in blocks] == [
        SECTION_HEADER,
        INTERFACE_DESCRIPTION,
        DECRYPTION_SECRETS,
        *[ENHANCED_PACKET] * 3,
    ]
    assert b"CLIENT_RANDOM 00 11\n" in blocks[2][1]
    high, low = struct.unpack_from("<II", blocks[3][1], 4)
    assert (high << 32 | low) == 1_700_000_000_500_000
    assert [body[20:].rstrip(b"\0")[-4:] for _, body in blocks[3:5]] == [b"aaaa", b"bbbb"]


def test_a_packet_stands_behind_the_secret_that_it_made_known(tmp_path: Path) -> None:
    path = tmp_path / "call.pcapng"
    with closing(Capture(path)) as capture, capture.secrets_first():
        capture.datagrams(ONE, OTHER, b"in", 2)
        with capture.secrets_first():
            capture.secret(b"CLIENT_RANDOM 00 11")
            capture.datagrams(OTHER, ONE, b"out", 3)
    blocks = blocks_of(path)
    assert [kind for kind, _ in blocks[2:]] == [
        DECRYPTION_SECRETS,
        ENHANCED_PACKET,
        ENHANCED_PACKET,
    ]
    assert blocks[3][1].rstrip(b"\0").endswith(b"in")


@pytest.mark.parametrize("host", ["192.0.2.9", "2001:db8::9"])
def test_packets_inside_dtls_are_written_as_sctp_over_ip(tmp_path: Path, host: str) -> None:
    path = tmp_path / "call.pcapng"
    one, other = (host, 4000), (host, 4001)
    with closing(Capture(path)) as capture:
        capture.sctp(one, other, [b"first", b"second"])
        capture.sctp(one, other, [])
    packets = [body[20:].rstrip(b"\0") for kind, body in blocks_of(path) if kind == ENHANCED_PACKET]
    assert [packet[9 if "." in host else 6] for packet in packets] == [132, 132]
    assert [packet[20 if "." in host else 40 :] for packet in packets] == [b"first", b"second"]


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "call.pcapng"
    Capture(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_opening_one_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Capture(tmp_path / "call.pcapng").close()
    assert "SECRETS" in caplog.text


def test_a_file_that_cannot_be_opened_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot open the capture"):
        Capture(tmp_path / "missing" / "call.pcapng")


def test_a_full_disk_ends_the_capture_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    capture = Capture("/dev/full")
    for _ in range(40):
        capture.datagrams(ONE, OTHER, bytes(1200), 1200)
    assert not capture.is_open
    capture.datagrams(ONE, OTHER, b"late", 4)
    capture.secret(b"late")
    capture.close()
    assert "stopped" in caplog.text


def test_a_capture_that_cannot_be_finished_says_so(caplog: pytest.LogCaptureFixture) -> None:
    Capture("/dev/full").close()
    assert "incomplete" in caplog.text


@pytest.mark.parametrize(
    ("source", "destination"), [(ONE, OTHER), (("2001:db8::1", 4000), ("2001:db8::2", 4001))]
)
@pytest.mark.parametrize("payload", [b"", b"odd", b"even"])
def test_headers_carry_valid_checksums(
    source: tuple[str, int], destination: tuple[str, int], payload: bytes
) -> None:
    packet = udp_packet(source, destination, payload)
    is_v6 = packet[0] >> 4 == 6
    head = 40 if is_v6 else 20
    udp = packet[head:]
    assert struct.unpack_from("!HHH", udp) == (4000, 4001, 8 + len(payload))
    addresses = packet[8:40] if is_v6 else packet[12:20]
    total = addresses + struct.pack("!HH", 17, len(udp)) + udp + bytes(len(udp) & 1)
    value = sum(struct.unpack(f"!{len(total) // 2}H", total))
    assert value % 0xFFFF == 0
    if not is_v6:
        assert sum(struct.unpack("!10H", packet[:20])) % 0xFFFF == 0


@pytest.mark.clause("RFC 9293 3.1")
@pytest.mark.parametrize(
    ("source", "destination"), [(ONE, OTHER), (("2001:db8::1", 4000), ("2001:db8::2", 4001))]
)
@pytest.mark.parametrize("payload", [b"", b"odd", b"even"])
def test_tcp_headers_carry_valid_checksums(
    source: tuple[str, int], destination: tuple[str, int], payload: bytes
) -> None:
    packet = tcp_packet(
        source, destination, payload, sequence=1 << 32, acknowledgement=7, flags=0x18
    )
    is_v6 = packet[0] >> 4 == 6
    tcp = packet[40 if is_v6 else 20 :]
    assert struct.unpack_from("!HHIIBB", tcp) == (4000, 4001, 0, 7, 0x50, 0x18)
    addresses = packet[8:40] if is_v6 else packet[12:20]
    total = addresses + struct.pack("!HH", 6, len(tcp)) + tcp + bytes(len(tcp) & 1)
    assert sum(struct.unpack(f"!{len(total) // 2}H", total)) % 0xFFFF == 0


def test_much_of_a_stream_stands_in_several_segments(tmp_path: Path) -> None:
    path = tmp_path / "call.pcapng"
    with closing(Capture(path)) as capture:
        data = b"x" * (MAX_MESSAGE_BYTES + 1)
        capture.segments(ONE, OTHER, data, sequence=5, acknowledgement=1, flags=0x18)
    bodies = [body for kind, body in blocks_of(path) if kind == ENHANCED_PACKET]
    assert [struct.unpack_from("!I", body, 44)[0] for body in bodies] == [5, 5 + MAX_MESSAGE_BYTES]


@pytest.mark.interop
def test_tshark_reads_the_file_without_complaint(tmp_path: Path) -> None:
    tshark = shutil.which("tshark")
    assert tshark is not None, "tshark is not installed"
    path = tmp_path / "call.pcapng"
    capture = Capture(path)
    capture.secret(b"CLIENT_RANDOM " + b"0" * 64 + b" " + b"1" * 96)
    capture.datagrams(ONE, OTHER, b"hello", 5)
    capture.close()
    fields = ["-T", "fields", "-e", "ip.src", "-e", "udp.dstport", "-e", "udp.checksum.status"]
    done = subprocess.run(
        [tshark, "-r", str(path), "-o", "udp.check_checksum:TRUE", *fields],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["192.0.2.1", "4001", "1"]


def test_a_message_longer_than_a_datagram_stands_in_several(tmp_path: Path) -> None:
    path = tmp_path / "call.pcapng"
    with closing(Capture(path)) as capture:
        capture.message(ONE, OTHER, b"x" * (MAX_MESSAGE_BYTES + 1))
    sizes = [len(body) for kind, body in blocks_of(path) if kind == ENHANCED_PACKET]
    assert len(sizes) == 2 and sizes[0] > MAX_MESSAGE_BYTES > sizes[1]
