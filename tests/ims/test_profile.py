"""The profile: its defaults, what it refuses, what it writes and reads."""

from __future__ import annotations

import ast
from dataclasses import FrozenInstanceError, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dcsdk.errors import ConfigError
from dcsdk.ims import profile as profile_module
from dcsdk.ims.profile import DEFAULT_PROFILE, ImsProfile
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.data_channel import LinePolicy
from dcsdk.sdp.session import SessionDescription
from tests.sdp.vectors import APPLICATION_LINE, BOOTSTRAP_OFFER, HEAD

OFFER = SessionDescription.parse(BOOTSTRAP_OFFER)


def test_the_profile_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        DEFAULT_PROFILE.allow_sha1 = True  # type: ignore[misc]


def test_every_field_says_its_choice_and_why() -> None:
    tree = ast.parse(Path(profile_module.__file__).read_text())
    (body,) = (
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "ImsProfile"
    )
    explained = {
        node.target.id
        for node, after in pairwise(body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }
    assert explained == {field.name for field in fields(ImsProfile)}


@pytest.mark.clause("TS 26.114 6.2.10.1", "TS 24.186 9.3.2.2.2")
def test_the_stream_ids_are_those_of_ims() -> None:
    assert DEFAULT_PROFILE.bootstrap_ids == (0, 10, 100, 110)
    assert DEFAULT_PROFILE.first_application_stream_id == 1000


def test_the_policy_of_the_checks_follows_the_profile() -> None:
    assert DEFAULT_PROFILE.line_policy() == LinePolicy()
    policy = ImsProfile(max_channels=2, allow_sha1=True).line_policy(
        is_dcmtsi=False, accept_missing_tls_id=True
    )
    assert (policy.max_channels, policy.allow_sha1, policy.is_dcmtsi) == (2, True, False)
    assert policy.accept_missing_tls_id
    assert not ImsProfile(allow_sha1=True).line_policy(allow_sha1=False).allow_sha1


@pytest.mark.clause("TS 24.186 9.3.3.2.1")
def test_bdc_used_by_is_written_and_read() -> None:
    assert DEFAULT_PROFILE.format_bdc_used_by("sender") == "sender"
    assert DEFAULT_PROFILE.bdc_used_by(OFFER.media[2]) == "sender"
    assert DEFAULT_PROFILE.bdc_used_by(OFFER.media[1]) is None
    odd = OFFER.media[2].replacing("3gpp-bdc-used-by", "nobody")
    assert DEFAULT_PROFILE.bdc_used_by(odd) is None
    other = ImsProfile(bdc_used_by_template="bdc-used-by={user}")
    assert other.format_bdc_used_by("receiver") == "bdc-used-by=receiver"


@pytest.mark.clause("TS 24.186 9.3.2.2.2")
def test_req_app_is_written_and_read() -> None:
    line = SessionDescription.parse(HEAD + APPLICATION_LINE).media[0]
    assert DEFAULT_PROFILE.req_app(line) == DEFAULT_PROFILE.format_req_app("app-1", {1000: "UE"})
    assert DEFAULT_PROFILE.req_app(OFFER.media[1]) is None
    other = ImsProfile(req_app_template="app-id={app_id}", req_app_pattern=r"app-id=(\w+)")
    assert other.format_req_app("x").raw == "app-id=x"


@pytest.mark.clause("TS 33.328 7.2.X step 1")
def test_the_e2dce_indication_is_read_under_its_configured_name() -> None:
    assert DEFAULT_PROFILE.e2dce_indication(OFFER.media[1]) == "requested"
    assert ImsProfile(e2dce_attribute="x-e2dce").e2dce_indication(OFFER.media[1]) is None


@pytest.mark.parametrize(
    "values",
    [
        {"e2dce_mechanism": "a b"},
        {"e2dce_attribute": ""},
        {"dc_e2ae_mechanism": "x;y"},
        {"bdc_used_by_template": "{nobody}"},
        {"bdc_used_by_template": "{user"},
        {"bdc_used_by_template": "{user.x}"},
        {"bdc_used_by_template": "x{user}"},
        {"req_app_template": "{0}"},
        {"req_app_template": "fixed"},
        {"req_app_endpoint_template": "{oops}"},
        {"req_app_pattern": "("},
        {"req_app_pattern": "abc"},
        {"req_app_pattern": "x(abc)"},
        {"max_channels": 0},
        {"sctp_port": 0},
        {"answer_setup": Setup.ACTPASS},
        {"hash_preference": ()},
        {"hash_preference": ("md5",)},
        {"first_application_stream_id": 110},
        {"first_application_stream_id": 65535},
    ],
)
def test_a_profile_that_cannot_work_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ImsProfile(**values)
