"""Scopes and indications: what is asked of the network, and what may be claimed."""

from __future__ import annotations

import pytest

from dcsdk.errors import ConfigError
from dcsdk.ims.profile import DEFAULT_PROFILE
from dcsdk.ims.security_policy import SecurityPolicy
from dcsdk.sdp.media import MediaDescription
from dcsdk.security import SecurityScope

POLICY = SecurityPolicy(DEFAULT_PROFILE)
E2AE, E2DCE = SecurityScope.E2AE, SecurityScope.E2DCE
E2E, UNKNOWN = SecurityScope.E2E, SecurityScope.NETWORK_DECIDES
REGISTERED = frozenset({"e2dce-dtls", "msrp-tls"})


def line(*attributes: tuple[str, str]) -> MediaDescription:
    return MediaDescription.create(
        media="application", port=9, proto="X", formats=["0"], attributes=attributes
    )


@pytest.mark.clause("TS 33.328 7.2.X step 1", "TS 33.328 7.2.1")
def test_a_request_is_written_where_both_sides_registered_it() -> None:
    for kind, scope, written in (
        ("data_channel", E2DCE, (("3ge2dce", "requested"),)),
        ("message", E2AE, (("3ge2ae", "requested"),)),
        ("floor", E2AE, ()),
        ("data_channel", UNKNOWN, ()),
    ):
        assert POLICY.indications(kind, scope, REGISTERED) == written


@pytest.mark.clause("TS 33.328 7.2.X NOTE 2")
def test_what_was_not_registered_cannot_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="did not both register"):
        POLICY.wanted("data_channel", E2DCE, frozenset())
    with pytest.raises(ConfigError, match="e2ae"):
        POLICY.wanted("fax", E2AE, REGISTERED)
    assert POLICY.wanted("data_channel", E2DCE, REGISTERED) is E2DCE


@pytest.mark.clause("TS 33.328 7.2.X")
def test_the_program_that_does_not_say_gets_what_was_registered() -> None:
    assert POLICY.wanted("data_channel", None, REGISTERED) is E2DCE
    assert POLICY.wanted("message", None, REGISTERED) is E2AE
    assert POLICY.wanted("data_channel", None, frozenset()) is UNKNOWN
    assert POLICY.wanted("data_channel", None, REGISTERED, is_pinned=True) is E2E
    assert POLICY.wanted("a third party's", None, REGISTERED) is UNKNOWN


@pytest.mark.clause("TS 33.328 7.2.X NOTE 3")
def test_registration_and_request_conclude_the_scope_of_our_offer() -> None:
    assert POLICY.scope_of_offer("data_channel", E2DCE, "", REGISTERED)[0] is E2DCE
    assert POLICY.scope_of_offer("data_channel", UNKNOWN, "", REGISTERED)[0] is UNKNOWN
    assert POLICY.scope_of_offer("data_channel", E2E, "a pin", REGISTERED) == (E2E, "a pin")
    assert POLICY.scope_of_offer("data_channel", E2E, "", REGISTERED)[0] is UNKNOWN


@pytest.mark.clause("TS 33.328 7.3.X", "E9")
def test_applied_counts_only_from_a_network_that_registered() -> None:
    applied = line(("3ge2dce", "applied"))
    assert POLICY.scope_of_answer("data_channel", applied, "", REGISTERED)[0] is E2DCE
    assert POLICY.scope_of_answer("data_channel", applied, "", frozenset())[0] is UNKNOWN
    requested = line(("3ge2dce", "requested"))
    assert POLICY.scope_of_answer("data_channel", requested, "", REGISTERED)[0] is UNKNOWN
    assert POLICY.scope_of_answer("message", applied, "", REGISTERED)[0] is UNKNOWN
