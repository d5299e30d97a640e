"""tshark reads the capture that a client writes of itself, without any file beside it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .tshark import Decoder

pytestmark = pytest.mark.interop

DEMO_TIMEOUT_S = 60
FILE_BYTES = 300_000
INIT, COOKIE_ACK, I_DATA = "1", "11", "64"
"""SCTP chunk types (RFC 9260 3.2, RFC 8260 2.1)."""
GOOD = "1"
"""What tshark says of a right checksum."""


@pytest.fixture(scope="module")
def capture(tshark: str, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    """Run the demo once with ``--capture``."""
    folder = tmp_path_factory.mktemp("capture")
    path, sample = folder / "demo.pcapng", folder / "sample"
    sample.write_bytes(b"In clear. " * (FILE_BYTES // 10))
    command = [sys.executable, "-m", "dcsdk", "demo", "--json"]
    command += ["--file", str(sample), "--capture", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEMO_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"]
    return Decoder(tshark=tshark, path=path)


def test_every_packet_is_read_without_a_mark(capture: Decoder) -> None:
    assert capture.errors("frame") == []
    assert capture.rows("!sip && !dtls && !sctp", "frame.number", "_ws.col.Info") == []


def test_the_whole_signalling_stands_in_it_in_plain_text(capture: Decoder) -> None:
    assert {"REGISTER", "INVITE", "ACK", "BYE"} <= set(capture.values("sip", "sip.Method"))
    assert {"401", "200"} <= set(capture.values("sip", "sip.Status-Code"))
    assert capture.values("sdp", "sdp.media.proto")


def test_the_handshakes_stand_in_it(capture: Decoder) -> None:
    client_hello, server_hello, certificate, finished = "1", "2", "11", "20"
    shown = set(capture.values("dtls", "dtls.handshake.type"))
    assert {client_hello, server_hello, certificate, finished} <= shown


def test_the_secrets_inside_open_every_record(capture: Decoder) -> None:
    records = capture.values("dtls.app_data", "dtls.app_data")
    opened = capture.values("dtls.app_data && data.data", "data.data")
    assert len(opened) == len(records) > FILE_BYTES // 1200


def test_what_the_records_hold_stands_beside_them_as_sctp(capture: Decoder) -> None:
    opened = capture.values("dtls.app_data && data.data", "data.data")
    undecoded = ("--disable-protocol", "sctp")
    plain = Decoder(tshark=capture.tshark, path=capture.path, options=undecoded)
    assert sorted(plain.values("ip.proto == 132", "data.data")) == sorted(opened)
    assert {INIT, COOKIE_ACK, I_DATA} <= set(capture.values("sctp", "sctp.chunk_type"))
    assert b"In clear. In clear. " in capture.path.read_bytes()


@pytest.mark.clause("RFC 9653 5.2")
def test_sctp_checksums_are_right_or_left_to_dtls(capture: Decoder) -> None:
    checking = Decoder(
        tshark=capture.tshark, path=capture.path, options=("-o", "sctp.checksum:CRC 32c")
    )
    assert checking.errors("sctp && sctp.checksum != 0") == []
    assert set(checking.values("sctp.chunk_type == 1", "sctp.checksum.status")) == {GOOD}
