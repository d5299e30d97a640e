"""``Feature-Caps`` and Contact feature tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.ims.feature_tags import (
    APP_SUBTYPE,
    DATACHANNEL,
    DC_MUX,
    FeatureCaps,
    contact_features,
    format_feature,
    has_feature,
    is_dcmtsi_contact,
)


@pytest.mark.clause("TS 24.186 9.2")
@pytest.mark.parametrize(
    "value",
    [
        "*;+g.3gpp.datachannel;+g.3gpp.dc-mux",
        "*;g.3gpp.datachannel;g.3gpp.dc-mux",
        '* ; +G.3GPP.DataChannel="x" ; +g.3gpp.dc-mux ',
        "+g.3gpp.datachannel,*;+g.3gpp.dc-mux",
        ["*;+g.3gpp.datachannel", "*;+g.3gpp.dc-mux;"],
    ],
)
def test_feature_caps_are_read_tolerantly(value: str | list[str]) -> None:
    caps = FeatureCaps.parse(value)
    assert caps.has(DATACHANNEL)
    assert caps.has("+g.3gpp.dc-mux")
    assert not caps.has("g.3gpp.other")


def test_nothing_is_there_when_no_header_came() -> None:
    assert not FeatureCaps.parse([]).has(DATACHANNEL)
    assert str(FeatureCaps()) == "*"


def test_values_are_read_and_written() -> None:
    caps = FeatureCaps.parse('*;+g.3gpp.icsi-ref="a;b,\\"c";+x=1')
    assert caps.get("g.3gpp.icsi-ref") == 'a;b,"c'
    assert caps.get("x") == "1"
    assert caps.get("nothing") is None
    assert FeatureCaps.parse(str(caps)) == caps


@pytest.mark.parametrize(
    "value", ["*;+a b", '*;+a="', "<", "*;a" * 200, "x" * 20_000, "*;" + "a" * 200, "=1"]
)
def test_what_is_no_list_of_features_is_a_parse_error(value: str) -> None:
    with pytest.raises(ParseError):
        FeatureCaps.parse(value)


@pytest.mark.clause("TS 26.114 6.2.10.1")
def test_the_tag_of_a_dcmtsi_client_is_written() -> None:
    features = contact_features(dc_mux=True)
    written = [format_feature(name, value) for name, value in features.items()]
    assert written == ['+sip.app-subtype="webrtc-datachannel"', "+g.3gpp.dc-mux"]
    assert contact_features(data_channel=False) == {}


@pytest.mark.clause("TS 33.328 N.3.2")
@pytest.mark.parametrize(
    ("value", "is_dcmtsi"),
    [
        ("webrtc-datachannel", True),
        ('"webrtc-datachannel"', True),
        ('"other, WebRTC-DataChannel"', True),
        ('"other"', False),
        (None, False),
    ],
)
def test_a_dcmtsi_client_is_recognised_by_its_contact(value: str | None, is_dcmtsi: bool) -> None:
    assert is_dcmtsi_contact([("expires", "60"), ("+Sip.App-Subtype", value)]) is is_dcmtsi


def test_a_tag_without_a_value_is_found() -> None:
    assert has_feature([("+g.3gpp.dc-mux", None)], DC_MUX)
    assert not has_feature([(APP_SUBTYPE, "x")], DC_MUX)


@pytest.mark.parametrize(
    ("name", "value"), [("a b", None), ("", None), ("a", "x\r\ny"), ("a;b", "")]
)
def test_a_feature_that_would_break_the_header_is_not_written(name: str, value: str | None) -> None:
    with pytest.raises(LocalProtocolError):
        format_feature(name, value)


FEATURES = st.lists(
    st.tuples(
        st.text("abc019.-_%", min_size=1, max_size=10),
        st.none() | st.text(st.characters(exclude_characters="\r\n\0"), max_size=20),
    ),
    max_size=5,
).map(tuple)


@given(features=FEATURES)
def test_every_feature_list_round_trips(features: tuple[tuple[str, str | None], ...]) -> None:
    caps = FeatureCaps(features=features)
    assert FeatureCaps.parse(str(caps)) == caps


@given(value=st.text(max_size=80))
def test_any_text_is_a_feature_list_or_a_parse_error(value: str) -> None:
    try:
        caps = FeatureCaps.parse(value)
    except ParseError:
        return
    assert isinstance(caps.has(DATACHANNEL), bool)
