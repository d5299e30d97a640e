"""Registrations that are refused, and those that end."""

from __future__ import annotations

import pytest

from dcsdk.errors import (
    OperationTimeout,
    RegistrationFailed,
)
from dcsdk.sip.registration_values import (
    Granted,
)

from .test_registration import events, ok, refusal, reply, sent, started


@pytest.mark.clause("RFC 3261 10.2.7")
@pytest.mark.parametrize("status", [403, 404, 420, 305, 600])
def test_a_refusal_ends_the_attempt_with_its_status(status: int) -> None:
    registration, request = started()
    registration.receive(reply(request, status, ("Unsupported", "mediasec")), now=0.0)
    error = refusal(registration)
    assert isinstance(error, RegistrationFailed) and error.status == status
    assert "mediasec" in str(error)


@pytest.mark.clause("RFC 3261 10.2.8")
def test_423_raises_the_lifetime_once_asked_for() -> None:
    registration, request = started(expires_s=60)
    registration.receive(reply(request, 423, ("Min-Expires", "300")), now=0.0)
    second = sent(registration)
    assert second.contacts[0].param("expires") == "300"
    registration.receive(ok(second, expires=None), now=0.0)
    (granted,) = events(registration)
    assert isinstance(granted, Granted) and granted.expires_s == 300


@pytest.mark.clause("RFC 3261 10.2.8")
@pytest.mark.parametrize("value", ["60", "59", "soon", None])
def test_423_that_does_not_raise_the_lifetime_ends_the_attempt(value: str | None) -> None:
    registration, request = started(expires_s=60)
    headers = [] if value is None else [("Min-Expires", value)]
    registration.receive(reply(request, 423, *headers), now=0.0)
    error = refusal(registration)
    assert isinstance(error, RegistrationFailed) and error.status == 423


def test_423_without_end_is_bounded() -> None:
    registration, request = started(expires_s=1)
    for round_number in range(1, 8):
        registration.receive(reply(request, 423, ("Min-Expires", str(10**round_number))), now=0.0)
        request = sent(registration)
    registration.receive(reply(request, 423, ("Min-Expires", "4000000000")), now=0.0)
    assert isinstance(refusal(registration), RegistrationFailed)


@pytest.mark.clause("E3", "RFC 3329 2.3.1")
def test_494_is_answered_with_the_list_that_came() -> None:
    registration, request = started()
    registration.receive(
        reply(request, 494, ("Security-Server", "e2dce-dtls;mediasec, x-new;mediasec")), now=0.0
    )
    second = sent(registration)
    assert second.headers.get_list("Security-Verify") == [
        "e2dce-dtls;mediasec",
        "x-new;mediasec",
    ]
    registration.receive(ok(second), now=0.0)
    (granted,) = events(registration)
    assert isinstance(granted, Granted) and len(granted.security_server) == 2


@pytest.mark.clause("E3")
def test_494_triggered_by_the_server_is_answered_without_a_client_list() -> None:
    registration, request = started(security_client=())
    registration.receive(reply(request, 494, ("Security-Server", "sdes-srtp;mediasec")), now=0.0)
    second = sent(registration)
    assert second.headers.get("Security-Verify") == "sdes-srtp;mediasec"
    assert "Security-Client" not in second.headers


@pytest.mark.clause("E3", "E4")
def test_494_to_the_list_we_echoed_ends_the_attempt() -> None:
    registration, request = started()
    server = ("Security-Server", "e2dce-dtls;mediasec")
    registration.receive(reply(request, 494, server), now=0.0)
    registration.receive(reply(sent(registration), 494, server), now=0.0)
    error = refusal(registration)
    assert isinstance(error, RegistrationFailed) and error.status == 494


@pytest.mark.clause("E3")
@pytest.mark.parametrize("server", [None, "=broken"])
def test_494_without_a_usable_list_ends_the_attempt(server: str | None) -> None:
    registration, request = started()
    headers = [] if server is None else [("Security-Server", server)]
    registration.receive(reply(request, 494, *headers), now=0.0)
    error = refusal(registration)
    assert isinstance(error, RegistrationFailed) and error.status == 494


@pytest.mark.clause("RFC 3329 2.3.2")
def test_421_for_sec_agree_adds_it() -> None:
    registration, request = started()
    response = reply(
        request, 421, ("Require", "sec-agree"), ("Security-Server", "tls;q=0.1,e2dce-dtls;mediasec")
    )
    registration.receive(response, now=0.0)
    second = sent(registration)
    assert second.headers.get("Require") == "sec-agree"
    assert second.headers.get_list("Security-Verify") == ["tls;q=0.1", "e2dce-dtls;mediasec"]
    registration.receive(
        reply(
            second,
            421,
            ("Require", "sec-agree"),
            ("Security-Server", "tls;q=0.1,e2dce-dtls;mediasec"),
        ),
        now=0.0,
    )
    assert isinstance(refusal(registration), RegistrationFailed)


@pytest.mark.clause("RFC 3261 21.4.15")
def test_421_for_anything_else_ends_the_attempt() -> None:
    registration, request = started()
    registration.receive(
        reply(request, 421, ("Require", "outbound"), ("Security-Server", "tls")), now=0.0
    )
    assert isinstance(refusal(registration), RegistrationFailed)


@pytest.mark.clause("RFC 5626 4.5")
def test_503_tells_when_to_come_back() -> None:
    registration, request = started()
    registration.receive(
        reply(request, 503, ("Retry-After", "120 (maintenance);duration=60")), now=0
    )
    error = refusal(registration)
    assert isinstance(error, RegistrationFailed) and error.retry_after_s == 120


def test_a_time_out_is_told_as_it_is() -> None:
    registration, _ = started()
    error = OperationTimeout("timer F")
    registration.fail(error, now=32.0)
    assert refusal(registration) is error
