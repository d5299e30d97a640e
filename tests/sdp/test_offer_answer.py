"""Writing lines, and rules between whole descriptions."""

from __future__ import annotations

import pytest

from dcsdk.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.data_channel import DataChannelLine, check_offer
from dcsdk.sdp.dcmap import Dcmap, Dcsa
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.sdp.offer_answer import (
    channel_attributes,
    check_answer_shape,
    check_data_channel_order,
    check_reoffer_shape,
    create_data_channel_media,
    dtls_sctp_attributes,
)
from dcsdk.sdp.session import SessionDescription
from tests.sdp.vectors import BOOTSTRAP_ANSWER_LINE, BOOTSTRAP_OFFER, FP_A, HEAD, TLS_ID_A

OFFER = SessionDescription.parse(BOOTSTRAP_OFFER)
DC, REMOTE_DC = OFFER.media[1:]
AUDIO = OFFER.media[0]
HTTP = (Dcmap(stream_id=0, subprotocol="http"), Dcmap(stream_id=10, subprotocol="http"))


@pytest.mark.clause("RFC 8841 10.2", "RFC 8864 6.2", "TS 33.328 7.2.X step 1")
def test_the_bootstrap_line_of_the_example_is_written() -> None:
    line = create_data_channel_media(
        address=("192.0.2.10", 51404),
        bandwidth_kbps=500,
        attributes=dtls_sctp_attributes(
            setup=Setup.ACTPASS, fingerprints=[Fingerprint.parse(FP_A)], tls_id=TLS_ID_A
        ),
        dcmaps=HTTP,
    ).with_attribute("3ge2dce", "requested")
    assert str(line) == str(DC)


def test_what_we_write_passes_our_own_check_over_ipv6() -> None:
    line = create_data_channel_media(
        address=("2001:db8::1", 9),
        attributes=dtls_sctp_attributes(
            setup=Setup.PASSIVE,
            fingerprints=[Fingerprint.parse(FP_A)],
            tls_id=TLS_ID_A,
            sctp_port=5002,
            max_message_size=0,
        ),
        dcmaps=[Dcmap(stream_id=1000, label='%;"é', is_ordered=False, max_time_ms=5)],
        dcsas=[Dcsa(stream_id=1000, attribute="x:y")],
    )
    assert "c=IN IP6 2001:db8::1\r\n" in str(line)
    checked = check_offer(line)
    assert isinstance(checked, DataChannelLine)
    assert checked.channels == line.dcmaps
    assert (checked.sctp_port, checked.max_message_size) == (5002, 0)


@pytest.mark.clause("RFC 8842 5.3")
def test_no_tls_id_is_written_in_answer_to_none() -> None:
    names = [
        entry.name
        for entry in dtls_sctp_attributes(setup=Setup.ACTIVE, fingerprints=[], tls_id=None)
    ]
    assert names == ["setup", "sctp-port", "max-message-size"]


@pytest.mark.clause("D3", "D5", "RFC 8864 6.2")
@pytest.mark.parametrize(
    ("dcmaps", "dcsas"),
    [
        ((HTTP[0], HTTP[0]), ()),
        ((Dcmap(stream_id=1, max_retr=1, max_time_ms=1),), ()),
        (HTTP, (Dcsa(stream_id=5, attribute="x"),)),
    ],
)
def test_channels_that_break_the_rules_are_not_written(
    dcmaps: tuple[Dcmap, ...], dcsas: tuple[Dcsa, ...]
) -> None:
    with pytest.raises(LocalProtocolError):
        channel_attributes(dcmaps, dcsas)


@pytest.mark.clause("RFC 3264 6")
def test_an_answer_has_the_lines_of_its_offer() -> None:
    answer_line = SessionDescription.parse(HEAD + BOOTSTRAP_ANSWER_LINE).media[0]
    good = OFFER.replace_media(1, answer_line).replace_media(2, REMOTE_DC.rejected())
    check_answer_shape(OFFER, good)
    refused = good.replace_media(0, AUDIO.rejected())
    check_answer_shape(OFFER, refused)
    for bad in (
        good.with_media(AUDIO),
        good.replace_media(0, DC),
        SessionDescription.parse(str(good).replace("UDP/DTLS/SCTP", "TCP/DTLS/SCTP")),
    ):
        with pytest.raises(RemoteProtocolError):
            check_answer_shape(OFFER, bad)


@pytest.mark.clause("RFC 3264 8")
def test_a_later_offer_keeps_every_line() -> None:
    check_reoffer_shape(len(OFFER.media), OFFER.with_media(DC))
    with pytest.raises(RemoteProtocolError) as caught:
        check_reoffer_shape(len(OFFER.media) + 1, OFFER)
    assert caught.value.sip_status_hint == 488


@pytest.mark.clause("E16", "TS 26.114 6.2.10.1")
def test_a_data_channel_line_before_the_speech_line_is_not_sent() -> None:
    check_data_channel_order([AUDIO, DC], allow_standalone_dc=False)
    check_data_channel_order([AUDIO], allow_standalone_dc=False)
    with pytest.raises(ConfigError):
        check_data_channel_order([DC, AUDIO], allow_standalone_dc=True)


@pytest.mark.clause("TS 26.114 6.2.10.1")
def test_a_session_without_speech_must_be_meant() -> None:
    check_data_channel_order([DC], allow_standalone_dc=True)
    with pytest.raises(ConfigError, match="allow_standalone_dc"):
        check_data_channel_order([DC], allow_standalone_dc=False)
