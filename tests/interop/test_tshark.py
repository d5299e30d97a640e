"""tshark reads what a demo run puts on the wire: SIP in TLS, DTLS, and SCTP in DTLS."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .tshark import CaptureIncomplete, Decoder, captured, rewrap_sctp

pytestmark = pytest.mark.interop

DEMO_TIMEOUT_S = 60
FILE_BYTES = 300_000
BURST = 5_000
INIT, INIT_ACK, SACK, COOKIE_ECHO, COOKIE_ACK = "1", "2", "3", "10", "11"
I_DATA, RE_CONFIG = "64", "130"
"""SCTP chunk types (RFC 9260 3.2, RFC 8260 2.1, RFC 6525 3.1)."""
ZERO_CHECKSUM = "0x8001"
"""The parameter that offers to take packets without a checksum (RFC 9653 4)."""
STRING, BINARY = "51", "53"
"""Payload protocol identifiers (RFC 8831 8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRun:
    """One captured run of the demo.

    Attributes:
        result: what the demo printed.
        wire: the capture, with the key log and the ports of SIP and DTLS.
        signalling: display filter of the connections between clients and P-CSCF.
        media: display filter of the data channel associations.
        sctp: the SCTP packets that were inside DTLS.
        sctp_packets: how many there are.
    """

    result: dict[str, Any]
    wire: Decoder
    signalling: str
    media: str
    sctp: Decoder
    sctp_packets: int


@pytest.fixture(scope="module")
def demo(tshark: str, tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """Run the demo once, captured; its SDP says where the media is."""
    folder = tmp_path_factory.mktemp("tshark")
    capture, keylog, sample = folder / "demo.pcapng", folder / "keys", folder / "sample"
    sample.write_bytes(hashlib.shake_128(b"sample").digest(FILE_BYTES))
    command = [sys.executable, "-m", "dcsdk", "demo", "--json"]
    command += ["--file", str(sample), "--keylog", str(keylog)]
    with captured(tshark, capture):
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEMO_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    port = result["ports"]["tls"]
    options = ["-o", f"tls.keylog_file:{keylog}"]
    options += ["-d", f"tcp.port=={port},tls", "-d", f"tls.port=={port},sip"]
    sip = Decoder(tshark=tshark, path=capture, options=tuple(options))
    signalling = f"tcp.port == {port}"
    ports = sorted(set(sip.values(f"{signalling} && sdp", "sdp.media.port")) - {"0"})
    assert ports, "no SDP with media was decoded"
    options += [part for port in ports for part in ("-d", f"udp.port=={port},dtls")]
    wire = Decoder(tshark=tshark, path=capture, options=tuple(options))
    media = f"udp.port in {{{', '.join(ports)}}}"
    count = rewrap_sctp(wire, f"{media} && dtls.app_data", folder / "sctp.pcap")
    sctp = Decoder(
        tshark=tshark, path=folder / "sctp.pcap", options=("-o", "sctp.checksum:CRC 32c")
    )
    return DemoRun(
        result=result,
        wire=wire,
        signalling=signalling,
        media=media,
        sctp=sctp,
        sctp_packets=count,
    )


def test_a_capture_ends_behind_the_last_packet(tshark: str, tmp_path: Path) -> None:
    path = tmp_path / "burst.pcapng"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        with captured(tshark, path):
            for _ in range(BURST):
                udp.sendto(bytes(1000), udp.getsockname())
        port = udp.getsockname()[1]
    decoder = Decoder(tshark=tshark, path=path)
    assert len(decoder.rows(f"udp.port == {port}", "frame.number")) == BURST


def test_a_capture_that_ends_early_is_a_failure(tmp_path: Path) -> None:
    program = tmp_path / "tshark"
    program.write_text("#!/bin/sh\necho 'Capture started' >&2\n")
    program.chmod(0o700)
    with (
        pytest.raises(CaptureIncomplete, match="before the marker"),
        captured(str(program), tmp_path / "empty.pcapng"),
    ):
        pass


def test_sip_in_tls_is_read_without_a_mark(demo: DemoRun) -> None:
    assert demo.wire.errors(demo.signalling) == []
    methods = demo.wire.values(demo.signalling, "sip.Method")
    assert {"REGISTER", "INVITE", "ACK", "BYE"} <= set(methods)
    statuses = demo.wire.values(demo.signalling, "sip.Status-Code")
    assert {"401", "200"} <= set(statuses)


@pytest.mark.clause("RFC 8841 4.1", "RFC 8842 5.2", "RFC 8864 5.1")
def test_sdp_names_what_a_data_channel_needs(demo: DemoRun) -> None:
    lines = demo.wire.rows(f"{demo.signalling} && sdp", "sdp.media.proto", "sdp.media_attr")
    assert lines
    for protocols, attributes in lines:
        assert set(protocols.split(",")) == {"UDP/DTLS/SCTP"}
        for name in ("setup", "fingerprint", "tls-id", "sctp-port", "max-message-size", "dcmap"):
            assert name in attributes


@pytest.mark.clause("RFC 6347 4.2")
def test_dtls_is_read_without_a_mark(demo: DemoRun) -> None:
    assert demo.wire.errors(demo.media) == []
    shown = set(demo.wire.values(demo.media, "dtls.handshake.type"))
    certificate_verify, finished = "15", "20"
    assert {"1", "2", "11", certificate_verify, finished} <= shown
    versions = set(demo.wire.values(f"{demo.media} && dtls.app_data", "dtls.record.version"))
    assert versions == {"0xfefd"}


def test_nothing_but_dtls_is_on_the_media_ports(demo: DemoRun) -> None:
    assert demo.wire.rows(f"{demo.media} && !dtls && !icmp", "frame.number", "_ws.col.Info") == []


@pytest.mark.clause("RFC 8261 6.1")
def test_sctp_in_dtls_is_read_without_a_mark(demo: DemoRun) -> None:
    unchecked = dataclasses.replace(demo.sctp, options=("-o", "sctp.checksum:none"))
    assert unchecked.errors("frame") == []
    records = demo.wire.values(f"{demo.media} && dtls.app_data", "dtls.app_data")
    assert len(demo.sctp.rows("sctp", "frame.number")) == demo.sctp_packets == len(records) > 0
    chunks = set(demo.sctp.values("sctp", "sctp.chunk_type"))
    assert {INIT, INIT_ACK, SACK, COOKIE_ECHO, COOKIE_ACK, I_DATA, RE_CONFIG} <= chunks


@pytest.mark.clause("RFC 9260 6.8", "RFC 9653 5.2")
def test_sctp_checksums_are_right_and_missing_only_where_that_was_offered(demo: DemoRun) -> None:
    with_checksum = f"sctp.checksum != 0 || sctp.chunk_type in {{{INIT}, {COOKIE_ECHO}}}"
    assert demo.sctp.errors(with_checksum) == []
    good = "1"
    assert set(demo.sctp.values(with_checksum, "sctp.checksum.status")) == {good}
    without = len(demo.sctp.rows(f"!({with_checksum})", "frame.number"))
    offers = f"sctp.chunk_type in {{{INIT}, {INIT_ACK}}}"
    every = len(demo.sctp.rows(offers, "frame.number"))
    made = demo.sctp.rows(f"{offers} && sctp.parameter_type == {ZERO_CHECKSUM}", "frame.number")
    assert len(made) == every
    assert 0 < without < demo.sctp_packets


@pytest.mark.clause("RFC 8831 8")
def test_every_message_of_the_demo_is_a_string_or_binary(demo: DemoRun) -> None:
    field = "sctp.data_payload_proto_id"
    found = demo.sctp.values(field, field)
    assert found
    assert set(found) <= {STRING, BINARY}
