"""Checks of a data channel line: what costs a channel, what the line, what the exchange."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import (
    ParseError,
    RemoteProtocolError,
    SecurityError,
    UnsupportedByPeer,
)
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.data_channel import (
    AgreedLine,
    DataChannelLine,
    LineClosed,
    LinePolicy,
    LineRefused,
    check_answer,
    check_offer,
)
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription
from tests.sdp.vectors import (
    APPLICATION_LINE,
    BOOTSTRAP_ANSWER_LINE,
    BOOTSTRAP_OFFER,
    FP_A,
    FP_DCMF,
    FP_SHA1,
    HEAD,
    MSRP_LINE,
    RFC_8841_OFFER,
    TLS_ID_A,
    TLS_ID_B,
    TS_26114_A17_1,
)

SESSION = SessionDescription.parse(BOOTSTRAP_OFFER)
OFFER = SESSION.media[1]
ANSWER = SessionDescription.parse(HEAD + BOOTSTRAP_ANSWER_LINE).media[0]
WIC = LinePolicy(is_dcmtsi=False)


def accepted(
    media: MediaDescription,
    session: SessionDescription | None = SESSION,
    policy: LinePolicy | None = None,
) -> DataChannelLine:
    line = check_offer(media, session, policy or LinePolicy())
    assert isinstance(line, DataChannelLine), line
    return line


def refused(
    media: MediaDescription, policy: LinePolicy | None = None
) -> RemoteProtocolError | SecurityError:
    line = check_offer(media, SESSION, policy or LinePolicy())
    assert isinstance(line, LineRefused), line
    assert line.error.source
    return line.error


def channels(*dcmaps: str) -> MediaDescription:
    line = OFFER.without("dcmap")
    for dcmap in dcmaps:
        line = line.with_attribute("dcmap", dcmap)
    return line


def refused_channels(*dcmaps: str, policy: LinePolicy | None = None) -> list[int | None]:
    return [entry.stream_id for entry in accepted(channels(*dcmaps), policy=policy).refused]


# --- offers that are fine ---
@pytest.mark.clause("RFC 8841 10.3", "TS 26.114 6.2.10.1")
def test_a_bootstrap_offer_is_read_whole() -> None:
    line = accepted(OFFER)
    assert line == DataChannelLine(
        proto="UDP/DTLS/SCTP",
        address=("192.0.2.10", 51404),
        setup=Setup.ACTPASS,
        tls_id=TLS_ID_A,
        fingerprints=(Fingerprint.parse(FP_A),),
        all_fingerprints=frozenset({Fingerprint.parse(FP_A)}),
        sctp_port=5000,
        max_message_size=65536,
        channels=(
            Dcmap(stream_id=0, subprotocol="http"),
            Dcmap(stream_id=10, subprotocol="http"),
        ),
    )
    assert line.channel(10) == Dcmap(stream_id=10, subprotocol="http")
    assert line.channel(11) is None
    assert line.side.tls_id == TLS_ID_A


def test_the_connection_line_of_the_session_holds() -> None:
    assert accepted(SESSION.media[2]).address == ("192.0.2.10", 51406)


@pytest.mark.clause("RFC 8864 5.2")
def test_attributes_of_a_channel_are_found_by_its_id() -> None:
    media = SessionDescription.parse(HEAD + APPLICATION_LINE).media[0]
    media = media.with_attribute("dcsa", "1001 a:b").with_attribute("dcsa", "7 c")
    line = accepted(media.with_attribute("dcsa", "broken"))
    assert line.dcsas_of(1000) == ("3gpp-qos-hint:loss=0.01;latency=100",)
    assert line.dcsas_of(1001) == ("a:b",)
    assert line.dcsas_of(7) == ()


@pytest.mark.clause("TS 33.328 N.3.2")
def test_a_wic_numbers_its_channels_freely() -> None:
    media = SessionDescription.parse(HEAD + MSRP_LINE).media[0]
    line = accepted(media, policy=WIC)
    assert line.channel(2) == Dcmap(stream_id=2, subprotocol="msrp", label="chat")
    assert "path:msrps://192.0.2.10:51402/s3c1;dc" in line.dcsas_of(2)


@pytest.mark.clause("RFC 8864 6.1")
def test_the_parity_of_ids_is_not_enforced() -> None:
    line = accepted(channels("1000", "1001").replacing("setup", "active"))
    assert [channel.stream_id for channel in line.channels] == [1000, 1001]


@pytest.mark.clause("RFC 8864 6.3")
def test_a_line_without_channels_is_accepted_as_dcep_may_follow() -> None:
    session = SessionDescription.parse(RFC_8841_OFFER)
    line = accepted(session.media[0], session)
    assert line.channels == ()
    assert line.max_message_size == 100_000


@pytest.mark.clause("TS 26.114 A.17.1", "RFC 8122 5")
def test_the_official_example_is_accepted_only_when_sha1_is_allowed() -> None:
    session = SessionDescription.parse(TS_26114_A17_1)
    line = check_offer(session.media[0], session)
    assert isinstance(line, LineRefused)
    assert isinstance(line.error, SecurityError)
    line = accepted(session.media[0], session, LinePolicy(allow_sha1=True))
    assert line.fingerprints == (Fingerprint.parse(FP_SHA1),)
    assert line.tls_id == "abc3de65cddef001be82"


@pytest.mark.clause("RFC 8841 9.2")
def test_a_direction_attribute_has_no_meaning() -> None:
    assert accepted(OFFER.with_attribute("inactive")) == accepted(OFFER)


# --- offers that end the line ---
@pytest.mark.clause("D14")
def test_port_0_in_an_offer_ends_the_line() -> None:
    assert check_offer(OFFER.with_port(0), SESSION) == LineClosed(is_port_zero=True)


@pytest.mark.clause("E14", "RFC 8841 9.3")
def test_sctp_port_0_in_an_offer_ends_the_sctp_association() -> None:
    assert check_offer(OFFER.replacing("sctp-port", "0"), SESSION) == LineClosed(is_port_zero=False)


# --- offers that are refused as a line ---
@pytest.mark.clause("E7", "RFC 8841 10.1")
@pytest.mark.parametrize("name", ["fingerprint", "tls-id", "setup", "sctp-port"])
def test_a_line_that_lacks_what_it_must_have_is_refused(name: str) -> None:
    error = refused(OFFER.without(name))
    assert name in str(error)
    assert isinstance(error, SecurityError if name == "fingerprint" else RemoteProtocolError)


@pytest.mark.clause("E7")
def test_a_missing_tls_id_is_taken_only_when_that_is_allowed() -> None:
    line = accepted(OFFER.without("tls-id"), policy=LinePolicy(accept_missing_tls_id=True))
    assert line.tls_id is None
    refused(OFFER.replacing("tls-id", "short"), LinePolicy(accept_missing_tls_id=True))


@pytest.mark.clause("E7", "RFC 8122 5")
@pytest.mark.parametrize("value", [FP_SHA1, "md5 " + ":".join(["00"] * 16), "sha3-256 00:11"])
def test_a_fingerprint_of_a_hash_we_do_not_trust_is_refused(value: str) -> None:
    assert isinstance(refused(OFFER.replacing("fingerprint", value)), SecurityError)


@pytest.mark.clause("RFC 8122 5")
def test_a_hash_we_do_not_trust_beside_a_good_one_does_no_harm() -> None:
    line = accepted(OFFER.with_attribute("fingerprint", FP_SHA1))
    assert line.fingerprints == (Fingerprint.parse(FP_A),)
    assert len(line.all_fingerprints) == 2


@pytest.mark.clause("RFC 8842 5.1")
def test_holdconn_is_refused() -> None:
    assert refused(OFFER.replacing("setup", "holdconn")).source == "RFC 8842 5.1"


@pytest.mark.clause("RFC 8842 5.3")
@pytest.mark.parametrize("setup", ["active", "passive", "actpass"])
def test_every_role_in_an_offer_is_taken(setup: str) -> None:
    assert accepted(OFFER.replacing("setup", setup)).setup == setup


@pytest.mark.clause("D3", "RFC 8864 5.1.1")
def test_the_same_id_twice_refuses_the_whole_line() -> None:
    error = refused(channels("1000", "1002", "1000"))
    assert "1000 comes twice" in str(error)
    refused(channels("1000 max-retr=x", "1000"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sctp-port", "65536"),
        ("sctp-port", "05000"),
        ("sctp-port", "x"),
        ("max-message-size", "64K"),
        ("max-message-size", "007"),
        ("setup", "both"),
        ("fingerprint", "sha-256 00"),
        ("tls-id", "a b"),
    ],
)
@pytest.mark.clause("RFC 8841 10.3")
def test_a_malformed_value_refuses_the_line_with_its_clause(name: str, value: str) -> None:
    error = refused(OFFER.replacing(name, value))
    assert isinstance(error, RemoteProtocolError)
    assert error.sip_status_hint == 488
    assert isinstance(error.__cause__, ParseError)
    assert str(error).count("[") == 1


@pytest.mark.parametrize(
    "head",
    [
        "m=application 9 TCP/DTLS/SCTP webrtc-datachannel",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel other",
        "m=application 9 UDP/DTLS/SCTP other",
        "m=application 9 DTLS/SCTP 5000",
        "m=audio 9 RTP/AVP 0",
    ],
)
@pytest.mark.clause("RFC 8841 4")
def test_another_transport_or_format_is_refused(head: str) -> None:
    text = "".join(str(OFFER).partition("\r\n")[1:])
    media = SessionDescription.parse(f"{HEAD}{head}{text}").media[0]
    assert refused(media).source == "RFC 8841 4"


@pytest.mark.parametrize(
    "address",
    ["pcscf.example", "224.0.0.1", "224.0.0.1/127", "ff02::1", "fe80::1%eth0", "0.0.0.0", "::"],  # noqa: S104
)
def test_an_address_nothing_can_be_sent_to_is_refused(address: str) -> None:
    line = OFFER.with_connection(replace(ANSWER.connection, address=address))  # type: ignore[type-var]
    assert refused(line).source == "RFC 8866 5.7"


def test_an_unspecified_address_is_taken_with_ice() -> None:
    line = OFFER.with_connection(replace(ANSWER.connection, address="0.0.0.0"))  # type: ignore[type-var]  # noqa: S104
    assert accepted(line.with_attribute("ice-ufrag", "8hhY")).address[0] == "0.0.0.0"  # noqa: S104


def test_a_line_without_any_connection_is_refused() -> None:
    line = check_offer(SESSION.media[2])
    assert isinstance(line, LineRefused)
    assert line.error.source == "RFC 8866 5.7"


# --- channels that are refused ---
@pytest.mark.clause("D2", "TS 24.186 9.3.2.2.2")
@pytest.mark.parametrize("stream_id", [1, 9, 11, 99, 101, 109, 111, 999])
def test_a_reserved_id_refuses_its_channel(stream_id: int) -> None:
    offer = (f"{stream_id}", "1000", '0 subprotocol="http"')
    assert refused_channels(*offer) == [stream_id]
    assert refused_channels(*offer, policy=WIC) == []


@pytest.mark.clause("D4")
@pytest.mark.parametrize("stream_id", [0, 10, 100, 110])
def test_a_bootstrap_channel_of_another_subprotocol_is_refused(stream_id: int) -> None:
    assert refused_channels(f'{stream_id} subprotocol="msrp"') == [stream_id]
    assert refused_channels(f"{stream_id}") == [stream_id]
    assert refused_channels(f'{stream_id} subprotocol="http"') == []


@pytest.mark.clause("TS 26.114 6.2.10.1")
@pytest.mark.parametrize("option", ["ordered=false", "max-retr=0", "max-time=9"])
def test_a_bootstrap_channel_that_may_lose_or_reorder_is_refused(option: str) -> None:
    assert refused_channels(f'0 subprotocol="http";{option}') == [0]


@pytest.mark.clause("D5", "RFC 8864 6.2")
def test_max_retr_with_max_time_refuses_its_channel() -> None:
    line = accepted(channels("1000 max-retr=1;max-time=2", "1001 max-retr=1"))
    assert [entry.stream_id for entry in line.channels] == [1001]
    assert [(entry.stream_id, entry.source) for entry in line.refused] == [(1000, "RFC 8864 6.2")]


@pytest.mark.clause("RFC 8864 8")
def test_a_malformed_option_refuses_its_channel() -> None:
    line = accepted(channels("1000 max-retr=x", "1001", "65535", "x"))
    assert [entry.stream_id for entry in line.channels] == [1001]
    assert [entry.stream_id for entry in line.refused] == [1000, None, None]
    assert all("[" not in entry.reason for entry in line.refused)


@pytest.mark.clause("D1")
def test_an_application_channel_without_binding_is_refused_only_by_policy() -> None:
    strict = LinePolicy(require_req_app=True)
    assert refused_channels("1000", '0 subprotocol="http"') == []
    assert refused_channels("1000", '0 subprotocol="http"', policy=strict) == [1000]
    bound = channels("1000").with_attribute("3gpp-req-app", "app-1")
    assert accepted(bound, policy=strict).refused == ()


@pytest.mark.clause("D15")
def test_channels_beyond_the_limit_are_refused() -> None:
    offer = [str(stream_id) for stream_id in range(1000, 1066)]
    assert refused_channels(*offer) == [1064, 1065]
    assert refused_channels(*offer, policy=LinePolicy(max_channels=66)) == []


# --- answers ---
def agreed(answer: MediaDescription, offer: MediaDescription = OFFER) -> AgreedLine:
    return check_answer(offer, answer, offer_session=SESSION)


@pytest.mark.clause("RFC 8842 5.4", "RFC 8864 6.4")
def test_an_answer_that_leaves_a_channel_out_refuses_it() -> None:
    result = agreed(ANSWER)
    assert result.dtls_role == "client"
    assert result.accepted == (Dcmap(stream_id=0, subprotocol="http"),)
    assert result.refused_ids == (10,)
    assert result.line.fingerprints == (Fingerprint.parse(FP_DCMF),)
    assert result.line.address == ("198.51.100.30", 41000)
    assert result.line.tls_id == TLS_ID_B


@pytest.mark.clause("RFC 8841 13")
def test_ports_of_offer_and_answer_may_differ() -> None:
    result = agreed(ANSWER.replacing("sctp-port", "6000").replacing("setup", "active"))
    assert result.line.sctp_port == 6000
    assert result.dtls_role == "server"


@pytest.mark.clause("D11", "RFC 3264 6")
def test_port_0_in_an_answer_is_unsupported_by_the_peer() -> None:
    with pytest.raises(UnsupportedByPeer):
        agreed(ANSWER.rejected())


@pytest.mark.clause("E14", "RFC 8841 9.3")
def test_sctp_port_0_in_an_answer_is_unsupported_by_the_peer() -> None:
    with pytest.raises(UnsupportedByPeer):
        agreed(ANSWER.replacing("sctp-port", "0"))


@pytest.mark.clause("E12", "RFC 8842 5.3")
@pytest.mark.parametrize("setup", ["actpass", "holdconn", "both"])
def test_actpass_or_worse_in_an_answer_is_a_protocol_error(setup: str) -> None:
    with pytest.raises(RemoteProtocolError):
        agreed(ANSWER.replacing("setup", setup))


@pytest.mark.clause("RFC 4145 4.1")
def test_an_answer_with_the_role_of_its_offer_is_a_protocol_error() -> None:
    with pytest.raises(RemoteProtocolError):
        agreed(ANSWER, OFFER.replacing("setup", "passive"))
    assert agreed(ANSWER, OFFER.replacing("setup", "active")).dtls_role == "client"


@pytest.mark.clause("E7")
@pytest.mark.parametrize("name", ["setup", "tls-id", "sctp-port"])
def test_an_answer_that_lacks_what_it_must_have_is_a_protocol_error(name: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        agreed(ANSWER.without(name))
    assert name in str(caught.value)


@pytest.mark.clause("E7")
@pytest.mark.parametrize("value", [None, FP_SHA1])
def test_an_answer_without_a_usable_fingerprint_is_a_security_error(value: str | None) -> None:
    answer = ANSWER.without("fingerprint")
    with pytest.raises(SecurityError):
        agreed(answer if value is None else answer.with_attribute("fingerprint", value))


@pytest.mark.clause("E7")
def test_a_missing_tls_id_in_an_answer_is_taken_only_when_that_is_allowed() -> None:
    policy = LinePolicy(accept_missing_tls_id=True)
    assert check_answer(OFFER, ANSWER.without("tls-id"), policy=policy).line.tls_id is None


@pytest.mark.clause("RFC 8842 5.3")
def test_a_tls_id_that_answers_none_is_a_protocol_error() -> None:
    with pytest.raises(RemoteProtocolError, match="offer had none"):
        agreed(ANSWER, OFFER.without("tls-id"))


@pytest.mark.clause("D6", "RFC 8864 6.4")
def test_an_id_that_was_not_offered_is_a_protocol_error() -> None:
    with pytest.raises(RemoteProtocolError, match="not offered"):
        agreed(ANSWER.with_attribute("dcmap", '100 subprotocol="http"'))


@pytest.mark.clause("D3", "RFC 8864 5.1.1")
def test_the_same_id_twice_in_an_answer_is_a_protocol_error() -> None:
    with pytest.raises(RemoteProtocolError, match="twice"):
        agreed(ANSWER.with_attribute("dcmap", "0"))


@pytest.mark.clause("D6", "RFC 8864 6.3")
@pytest.mark.parametrize(
    ("option", "answered"),
    [
        ("max-retr", "1000 max-retr=6;label=%22%22"),
        ("max-retr", '1000 ordered=false;label="l";subprotocol="p"'),
        ("max-time", "1000 ordered=false;max-retr=5;max-time=1"),
        ("ordered", "1000 max-retr=5"),
        ("subprotocol", '1000 ordered=false;max-retr=5;subprotocol="q"'),
        ("label", '1000 ordered=false;max-retr=5;label="m"'),
    ],
)
def test_an_answer_that_changes_an_option_is_a_protocol_error(option: str, answered: str) -> None:
    offer = channels('1000 subprotocol="p";label="l";ordered=false;max-retr=5')
    answer = ANSWER.without("dcmap").with_attribute("dcmap", answered)
    with pytest.raises(RemoteProtocolError):
        agreed(answer, offer)


@pytest.mark.clause("RFC 8864 6.3")
def test_an_answer_may_leave_names_out_and_have_its_own_priority() -> None:
    offer = channels('1000 subprotocol="p";label="l";ordered=false;max-retr=5')
    answer = ANSWER.replacing("dcmap", "1000 ordered=false;max-retr=5;priority=512")
    assert agreed(answer, offer).accepted == offer.dcmaps


@pytest.mark.clause("RFC 8864 6.4")
def test_a_malformed_dcmap_in_an_answer_is_a_protocol_error() -> None:
    with pytest.raises(RemoteProtocolError):
        agreed(ANSWER.replacing("dcmap", "0 max-retr=x"))


@pytest.mark.clause("E5", "RFC 3264 6")
def test_an_answer_on_another_transport_is_a_protocol_error() -> None:
    plain = replace(ANSWER, proto="UDP/SCTP")
    with pytest.raises(RemoteProtocolError):
        agreed(plain)
    with pytest.raises(RemoteProtocolError):
        agreed(replace(ANSWER, formats=("other",)))
    with pytest.raises(RemoteProtocolError):
        agreed(replace(ANSWER, media="audio"))


# --- properties ---
NAMES = st.sampled_from(
    ["setup", "fingerprint", "tls-id", "sctp-port", "max-message-size", "dcmap", "dcsa"]
)
VALUES = st.one_of(
    st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=("Cs",)), max_size=30),
    st.sampled_from([FP_A, TLS_ID_A, "actpass", "active", "passive", "0", "1000", "5000"]),
)


@given(attributes=st.lists(st.tuples(NAMES, VALUES), max_size=8), is_fresh=st.booleans())
def test_any_attributes_give_a_typed_result(
    attributes: list[tuple[str, str]], is_fresh: bool
) -> None:
    base = OFFER.without("dcmap") if is_fresh else OFFER.without(*{name for name, _ in attributes})
    line = base.with_attributes(attributes)
    result = check_offer(line, SESSION)
    assert isinstance(result, DataChannelLine | LineRefused | LineClosed)
    try:
        check_answer(OFFER, line, session=SESSION)
    except (RemoteProtocolError, SecurityError, UnsupportedByPeer):
        return
