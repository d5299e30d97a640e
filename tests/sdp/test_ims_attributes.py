"""3GPP's SDP attributes: indications, bootstrap users, application binding, QoS hints."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sdp.ims_attributes import (
    QosHint,
    QosProperty,
    format_bdc_used_by,
    format_req_app,
    parse_bdc_used_by,
    parse_indication,
    parse_req_app,
)


@pytest.mark.clause("TS 24.229 7.5.2")
def test_the_two_indications_are_read() -> None:
    assert parse_indication("requested") == "requested"
    assert parse_indication(" Applied") == "applied"


@pytest.mark.clause("E10", "TS 24.229 7.5.2")
@pytest.mark.parametrize("value", ["offered", "supported", "", None, "requested applied"])
def test_an_unknown_indication_is_ignored(value: str | None) -> None:
    assert parse_indication(value) is None


@pytest.mark.clause("TS 24.186 9.3.3.2.1")
def test_both_spellings_of_bdc_used_by_are_read() -> None:
    assert parse_bdc_used_by("sender") == "sender"
    assert parse_bdc_used_by(" receiver") == "receiver"
    assert parse_bdc_used_by("bdc-used-by=sender") == "sender"
    assert parse_bdc_used_by('bdc-used-by="receiver"') == "receiver"
    with pytest.raises(ParseError):
        parse_bdc_used_by("nobody")


def test_bdc_used_by_is_written_by_its_template() -> None:
    assert format_bdc_used_by("sender") == "sender"
    assert format_bdc_used_by("receiver", "bdc-used-by={user}") == "bdc-used-by=receiver"


@pytest.mark.clause("TS 24.186 9.3.2.2.2")
def test_req_app_names_the_application_and_its_end_points() -> None:
    req_app = format_req_app("whiteboard", {1000: "UE", 1001: "Server"})
    assert req_app.raw == (
        "whiteboard;adc-stream-id-endpoint=1000:UE;adc-stream-id-endpoint=1001:Server"
    )
    assert parse_req_app(req_app.raw) == req_app


def test_req_app_of_another_build_keeps_its_text() -> None:
    req_app = parse_req_app("<App id='7'/>", r".*id='([^']*)'")
    assert (req_app.raw, req_app.app_id) == ("<App id='7'/>", "7")
    assert parse_req_app(";x").app_id is None


@pytest.mark.parametrize("app_id", ["", "a;b", "a b", "a\r\nm=audio", "a\0", "x" * 256])
def test_an_application_id_that_would_not_be_read_back_is_refused(app_id: str) -> None:
    with pytest.raises(LocalProtocolError):
        format_req_app(app_id)


@pytest.mark.clause("TS 26.114 6.2.7.4")
@pytest.mark.parametrize(
    "value",
    ["loss=0.00001;latency=300", "loss=0.00002/local:0.000005;latency=600/local:400", "jitter=5"],
)
def test_qos_hints_of_the_standard_round_trip(value: str) -> None:
    assert str(QosHint.parse(value)) == value


def test_the_parts_of_a_qos_hint_are_found() -> None:
    hint = QosHint.parse(" loss=0.00002/local:0.000005;latency=600")
    assert hint.get("loss") == QosProperty(name="loss", value="0.00002", local="0.000005")
    assert hint.get("latency") == QosProperty(name="latency", value="600")
    assert hint.get("jitter") is None


@pytest.mark.parametrize(
    "value", ["", "loss", "loss=", "=1", "loss=1/local:", ";".join(["a=1"] * 17)]
)
def test_what_is_no_qos_hint_is_a_parse_error(value: str) -> None:
    with pytest.raises(ParseError):
        QosHint.parse(value)


@given(value=st.text(max_size=80) | st.from_regex(r"([a-z]+=[0-9.]*(/local:[0-9]*)?;?)*"))
def test_any_text_is_a_value_or_a_parse_error(value: str) -> None:
    parse_indication(value)
    assert parse_req_app(value).raw == value
    with contextlib.suppress(ParseError):
        assert parse_bdc_used_by(value) in ("sender", "receiver")
    try:
        hint = QosHint.parse(value)
    except ParseError:
        return
    assert QosHint.parse(str(hint)) == hint
