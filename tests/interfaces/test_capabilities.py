"""What both sides support, per media kind."""

from __future__ import annotations

import json

import pytest

from dcsdk.ims.feature_tags import FeatureCaps, contact_features
from dcsdk.ims.mediasec import parse_list
from dcsdk.ims.profile import ImsProfile
from dcsdk.interfaces.capabilities import Capabilities
from dcsdk.security import SecurityScope

CAPS = FeatureCaps.parse("*;+g.3gpp.datachannel")


def capabilities(client: str, server: str, caps: FeatureCaps = CAPS) -> Capabilities:
    return Capabilities.from_registration(
        parse_list(client), parse_list(server), caps, contact_features(dc_mux=True)
    )


@pytest.mark.clause("TS 33.328 7.1.X")
def test_e2dce_is_agreed_when_both_listed_it() -> None:
    both = capabilities("e2dce-dtls;mediasec", "e2dce-dtls;mediasec")
    assert both.is_agreed("data_channel", SecurityScope.E2DCE)
    assert not both.is_agreed("data_channel")
    assert not capabilities("e2dce-dtls;mediasec", "").is_agreed(
        "data_channel", SecurityScope.E2DCE
    )
    assert not capabilities("", "e2dce-dtls;mediasec").is_agreed(
        "data_channel", SecurityScope.E2DCE
    )


@pytest.mark.clause("TS 33.328 7.1", "E1")
def test_each_media_kind_has_its_own_indication() -> None:
    result = capabilities(
        "sdes-srtp;mediasec,dtls-srtp;mediasec,msrp-tls;mediasec,bfcp-tls;mediasec",
        "sdes-srtp;mediasec,msrp-tls;mediasec,udptl-dtls;mediasec",
    )
    agreed = {row.kind for row in result.media if row.is_agreed}
    assert agreed == {"audio", "message"}
    t38 = result.get("fax", SecurityScope.E2AE)
    assert t38 is not None
    assert (t38.is_ue, t38.is_network) == (False, True)


def test_an_entry_without_mediasec_says_nothing_of_media() -> None:
    assert not capabilities("msrp-tls", "msrp-tls;mediasec").is_agreed("message")


def test_end_to_end_security_has_no_indication() -> None:
    assert capabilities("", "").get("data_channel", SecurityScope.E2E) is None
    assert not capabilities("", "").is_agreed("data_channel", SecurityScope.E2E)


@pytest.mark.clause("E15", "TS 23.228 AC")
def test_data_channels_need_the_capability_of_the_network() -> None:
    assert capabilities("", "").data_channel.is_agreed
    assert not capabilities("", "").dc_mux.is_agreed
    without = capabilities("", "", FeatureCaps())
    assert without.data_channel.is_ue
    assert not without.data_channel.is_network
    assert not without.data_channel.is_agreed


def test_mechanism_names_follow_the_profile() -> None:
    mechanisms = parse_list("x-e2dce;mediasec")
    result = Capabilities.from_registration(
        mechanisms, mechanisms, CAPS, {}, ImsProfile(e2dce_mechanism="x-e2dce")
    )
    assert result.is_agreed("data_channel", SecurityScope.E2DCE)
    assert not result.data_channel.is_ue


def test_a_table_is_printed() -> None:
    text = str(capabilities("e2dce-dtls;mediasec", "e2dce-dtls;mediasec"))
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["media", "scope", "named", "by", "UE", "network", "both"]
    assert ["data_channel", "e2dce", "e2dce-dtls", "yes", "yes", "yes"] in lines
    assert ["audio", "e2ae", "sdes-srtp", "no", "no", "no"] in lines
    assert ["data_channel", "-", "g.3gpp.datachannel", "yes", "yes", "yes"] in lines
    assert ["data_channel", "-", "g.3gpp.dc-mux", "yes", "no", "no"] in lines


def test_plain_values_go_into_json() -> None:
    result = capabilities("e2dce-dtls;mediasec", "e2dce-dtls;mediasec").as_dict()
    assert json.loads(json.dumps(result)) == result
    assert result["data_channel"] == {"ue": True, "network": True, "agreed": True}
    assert {
        "kind": "data_channel",
        "scope": "e2dce",
        "mechanism": "e2dce-dtls",
        "ue": True,
        "network": True,
        "agreed": True,
    } in result["media"]
