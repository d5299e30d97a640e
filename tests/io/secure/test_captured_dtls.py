"""What DTLS writes into a capture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from OpenSSL import SSL

from dcsdk.io.capture import ENHANCED_PACKET, Capture
from dcsdk.io.secure.captured_dtls import CapturedDtls
from dcsdk.tls.context import DtlsContext
from tests.tls.ends import OURS, PEERS, End, pump

from ..test_capture import blocks_of


@dataclass(frozen=True)
class Ends:
    local_address: tuple[str, int] = ("192.0.2.1", 4000)
    remote_address: tuple[str, int] | None = ("192.0.2.2", 4001)


class CapturedEnd(End):
    def __init__(self, capture: Capture) -> None:
        super().__init__("client", certificate=OURS, fingerprints=[PEERS.fingerprint])
        self.machine = CapturedDtls(
            DtlsContext(OURS),
            role="client",
            fingerprints=[PEERS.fingerprint],
            mtu=1200,
            capture=capture,
            path=Ends(),
        )


def established(capture: Capture) -> tuple[End, End]:
    pair = CapturedEnd(capture), End("server", certificate=PEERS, fingerprints=[OURS.fingerprint])
    for end in reversed(pair):
        end.machine.start(now=0.0)
    pump(*pair)
    assert pair[0].machine.is_established
    return pair


def test_what_is_sent_and_received_stands_in_the_capture(tmp_path: Path) -> None:
    path = tmp_path / "call.pcapng"
    capture = Capture(path)
    client, server = established(capture)
    client.send([b"out, the first", b"out, the other"])
    server.send([b"in"])
    pump(client, server)
    capture.close()
    packets = [data for kind, data in blocks_of(path) if kind == ENHANCED_PACKET]
    texts = [b"out, the first", b"out, the other", b"in"]
    assert [any(text in packet for packet in packets) for text in texts] == [True] * 3
    assert len(packets) == 3


def test_what_openssl_refuses_to_send_does_not_stand_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: SSL.Connection, ssl: object, result: int) -> None:
        raise SSL.Error([])

    path = tmp_path / "call.pcapng"
    capture = Capture(path)
    client, _ = established(capture)
    monkeypatch.setattr(SSL.Connection, "_raise_ssl_error", refuse)
    assert client.machine.send([b"never went", b"neither"]) == 2
    capture.close()
    assert not client.machine.is_established
    assert all(kind != ENHANCED_PACKET for kind, _ in blocks_of(path))
