"""The registration machine against scripted registrars, on a virtual clock."""

from __future__ import annotations

from typing import Any

import pytest

from dcsdk.errors import (
    DcsdkError,
    LocalProtocolError,
    OperationTimeout,
    RegistrationFailed,
    SecurityError,
    TransportError,
)
from dcsdk.ims.mediasec import SecurityMechanism, agreed
from dcsdk.security import Secret
from dcsdk.sip.digest import Challenge, Credentials, digest_response
from dcsdk.sip.registration import RegistrationMachine, RegistrationState
from dcsdk.sip.registration_values import (
    Deregistered,
    Granted,
    Lost,
    Refused,
    RegistrationEvent,
    RegistrationSettings,
    refresh_after_s,
)
from dcsdk.sip.syntax.message import Request, Response

from .messages import counting_entropy

CONTACT = "sip:alice@192.0.2.1:5060;transport=tls"

E2DCE = SecurityMechanism.media("e2dce-dtls")

PASSWORD = "opensesame"  # noqa: S105


def settings(**changes: Any) -> RegistrationSettings:
    values: dict[str, Any] = {
        "public_identity": "sip:alice@ims.example",
        "private_identity": "alice@ims.example",
        "home_domain": "ims.example",
        "password": Secret(PASSWORD),
        "contact": CONTACT,
        "contact_features": {"+sip.app-subtype": "webrtc-datachannel"},
        "security_client": (E2DCE,),
    }
    return RegistrationSettings(**{**values, **changes})


def machine(**changes: Any) -> RegistrationMachine:
    return RegistrationMachine(settings(**changes), entropy=counting_entropy())


def started(**changes: Any) -> tuple[RegistrationMachine, Request]:
    registration = machine(**changes)
    registration.register(now=0.0)
    return registration, sent(registration)


def sent(registration: RegistrationMachine) -> Request:
    request = registration.poll_transmit()
    assert request is not None and registration.poll_transmit() is None
    return request


def events(registration: RegistrationMachine) -> list[RegistrationEvent]:
    found = []
    while (event := registration.poll_event()) is not None:
        found.append(event)
    return found


def challenge(nonce: str = "n1", *, algorithm: str = "SHA-256", stale: bool = False) -> str:
    return str(
        Challenge(
            realm="ims.example", nonce=nonce, algorithm=algorithm, qop=("auth",), is_stale=stale
        )
    )


def reply(request: Request, status: int, *headers: tuple[str, str]) -> Response:
    return request.response(status, to_tag="registrar", headers=headers)


def unauthorized(request: Request, *headers: tuple[str, str], nonce: str = "n1") -> Response:
    return reply(request, 401, ("WWW-Authenticate", challenge(nonce)), *headers)


def ok(request: Request, *headers: tuple[str, str], expires: int | None = 3600) -> Response:
    parameter = "" if expires is None else f";expires={expires}"
    return reply(request, 200, ("Contact", f"<{CONTACT}>{parameter}"), *headers)


def registered(expires: int = 3600, **changes: Any) -> RegistrationMachine:
    registration, request = started(**changes)
    registration.receive(ok(request, expires=expires), now=0.0)
    assert isinstance(events(registration)[0], Granted)
    return registration


def refusal(registration: RegistrationMachine) -> DcsdkError:
    (event,) = events(registration)
    assert isinstance(event, Refused)
    assert registration.state is RegistrationState.ENDED
    assert registration.poll_transmit() is None and registration.next_timer() is None
    return event.error


@pytest.mark.clause("TS 24.229 5.1.1.2")
def test_the_first_register_says_who_and_what_we_are() -> None:
    _, request = started(access_network_info="IEEE-802.11", user_agent="dcsdk")
    headers = request.headers
    assert str(request.uri) == "sip:ims.example" and str(request.cseq) == "1 REGISTER"
    assert str(request.to.uri) == str(request.from_.uri) == "sip:alice@ims.example"
    assert request.to.tag is None and request.from_.tag
    assert headers.get("Contact") == (
        f'<{CONTACT}>;+sip.app-subtype="webrtc-datachannel";expires=600000'
    )
    credentials = Credentials.parse(headers.get("Authorization") or "")
    assert credentials.username == "alice@ims.example" and credentials.nonce == ""
    assert credentials.realm == "ims.example" and credentials.uri == "sip:ims.example"
    assert headers.get("Supported") == "path"
    assert headers.get("P-Access-Network-Info") == "IEEE-802.11"
    assert headers.get("User-Agent") == "dcsdk"


@pytest.mark.clause("TS 24.229 7.2A.7", "RFC 3329 2.3.1")
def test_mediasec_alone_needs_no_sec_agree() -> None:
    _, request = started()
    assert request.headers.get("Security-Client") == "e2dce-dtls;mediasec"
    for name in ("Require", "Proxy-Require", "Security-Verify"):
        assert name not in request.headers
    _, request = started(security_client=())
    assert "Security-Client" not in request.headers


@pytest.mark.clause("RFC 3329 2.3.1")
def test_a_signalling_mechanism_requires_sec_agree_and_is_verified_elsewhere_too() -> None:
    tls = SecurityMechanism(name="tls")
    registration, request = started(security_client=(tls, E2DCE))
    assert request.headers.get("Require") == request.headers.get("Proxy-Require") == "sec-agree"
    assert registration.security_verify == ()
    registration.receive(
        unauthorized(request, ("Security-Server", "tls;q=0.2, e2dce-dtls;mediasec")), now=0.0
    )
    assert [str(m) for m in registration.security_verify] == ["tls;q=0.2", "e2dce-dtls;mediasec"]


@pytest.mark.clause("TS 33.203 Annex N", "RFC 8760 2.6")
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_a_challenge_is_answered_with_the_same_call_id_and_the_security_lists(
    algorithm: str,
) -> None:
    registration, first = started()
    registration.receive(
        reply(
            first,
            401,
            ("WWW-Authenticate", challenge(algorithm=algorithm)),
            ("Security-Server", "sdes-srtp;mediasec"),
            ("Security-Server", "e2dce-dtls;mediasec"),
        ),
        now=0.1,
    )
    second = sent(registration)
    assert second.call_id == first.call_id and second.from_ == first.from_
    assert str(second.cseq) == "2 REGISTER"
    assert second.headers.get("Security-Client") == first.headers.get("Security-Client")
    assert second.headers.get_list("Security-Verify") == [
        "sdes-srtp;mediasec",
        "e2dce-dtls;mediasec",
    ]
    credentials = Credentials.parse(second.headers.get("Authorization") or "")
    assert credentials.expected_response(PASSWORD.encode(), "REGISTER") == credentials.response
    assert credentials.algorithm == algorithm


@pytest.mark.clause("TS 24.229 5.1.1.2", "RFC 3608 6.1", "RFC 7315 4.1", "TS 24.186 9.2")
def test_the_200_tells_lifetime_routes_identities_and_features() -> None:
    registration, request = started()
    registration.receive(unauthorized(request, ("Security-Server", "e2dce-dtls;mediasec")), now=0.1)
    response = reply(
        sent(registration),
        200,
        ("Contact", f"<sip:alice@192.0.2.99>;expires=1, <{CONTACT}>;expires=7200"),
        ("Service-Route", "<sip:pcscf.example;lr>, <sip:scscf.example;lr>"),
        ("P-Associated-URI", "<sip:alice@ims.example>, <tel:+4912345>"),
        ("Feature-Caps", "*;+g.3gpp.datachannel;+g.3gpp.dc-mux"),
    )
    registration.receive(response, now=0.2)
    (granted,) = events(registration)
    assert isinstance(granted, Granted) and not granted.is_refresh
    assert granted.expires_s == 7200
    assert granted.service_route == ("<sip:pcscf.example;lr>", "<sip:scscf.example;lr>")
    assert granted.associated_uris == ("sip:alice@ims.example", "tel:+4912345")
    assert granted.feature_caps.has("g.3gpp.datachannel")
    assert agreed((E2DCE,), granted.security_server) == {"e2dce-dtls"}
    assert registration.next_timer() == 0.2 + 6600


@pytest.mark.clause("TS 24.229 5.1.1.4")
@pytest.mark.parametrize(("lifetime", "after"), [(1200, 600), (1201, 601), (600_000, 599_400)])
def test_refresh_comes_600_s_before_expiry_or_at_half(lifetime: int, after: float) -> None:
    assert refresh_after_s(lifetime) == after


@pytest.mark.clause("TS 24.229 5.1.1.4")
def test_a_refresh_uses_the_last_nonce_and_replaces_what_was_granted() -> None:
    registration, request = started()
    registration.receive(unauthorized(request), now=0.0)
    registration.receive(
        ok(sent(registration), ("Service-Route", "<sip:s.example;lr>"), expires=1000), now=0.0
    )
    events(registration)
    assert registration.next_timer() == 500
    registration.handle_timer(now=500.0)
    refresh = sent(registration)
    credentials = Credentials.parse(refresh.headers.get("Authorization") or "")
    assert credentials.nonce == "n1" and credentials.nonce_count == 2
    registration.receive(ok(refresh, expires=2000), now=501.0)
    (granted,) = events(registration)
    assert isinstance(granted, Granted) and granted.is_refresh and granted.service_route == ()
    assert registration.next_timer() == 501 + 1400


def test_a_refresh_that_is_challenged_again_is_answered() -> None:
    registration = registered()
    registration.refresh(now=1.0)
    registration.receive(unauthorized(sent(registration), nonce="n2"), now=1.1)
    registration.receive(ok(sent(registration)), now=1.2)
    (granted,) = events(registration)
    assert isinstance(granted, Granted) and granted.is_refresh


@pytest.mark.clause("TS 24.229 5.1.1.5", "RFC 3261 22.1")
def test_a_401_loop_ends_after_two_answered_challenges() -> None:
    registration, request = started()
    for nonce in ("n1", "n2"):
        registration.receive(unauthorized(request, nonce=nonce), now=0.0)
        request = sent(registration)
    registration.receive(unauthorized(request, nonce="n3"), now=0.0)
    error = refusal(registration)
    assert isinstance(error, RegistrationFailed) and error.status == 401
    assert PASSWORD not in str(error)


@pytest.mark.clause("RFC 8760 2.4")
@pytest.mark.parametrize("value", [challenge(algorithm="AKAv1-MD5"), "Basic realm=x", None])
def test_a_challenge_that_cannot_be_answered_ends_the_attempt(value: str | None) -> None:
    registration, request = started()
    headers = [] if value is None else [("WWW-Authenticate", value)]
    registration.receive(reply(request, 401, *headers), now=0.0)
    error = refusal(registration)
    assert isinstance(error, RegistrationFailed) and error.status == 401


@pytest.mark.clause("TS 33.203 Annex N")
def test_a_downgrade_of_the_digest_algorithm_is_refused() -> None:
    registration, request = started(algorithms=("SHA-256",))
    registration.receive(
        reply(request, 401, ("WWW-Authenticate", challenge(algorithm="MD5"))), now=0
    )
    assert isinstance(refusal(registration), RegistrationFailed)


@pytest.mark.clause("RFC 7616 3.5")
def test_a_server_that_does_not_know_the_password_is_refused() -> None:
    registration, request = started()
    registration.receive(unauthorized(request), now=0.0)
    second = sent(registration)
    info = ("Authentication-Info", f'rspauth="{"0" * 64}", qop=auth, nc=00000001, cnonce="x"')
    registration.receive(ok(second, info), now=0.0)
    error = refusal(registration)
    assert isinstance(error.__cause__, SecurityError)


@pytest.mark.clause("RFC 7616 3.5")
def test_a_server_that_proves_the_password_is_accepted() -> None:
    registration, request = started()
    registration.receive(unauthorized(request), now=0.0)
    second = sent(registration)
    ours = Credentials.parse(second.headers.get("Authorization") or "")
    proof = digest_response(
        algorithm="SHA-256",
        username=ours.username,
        realm=ours.realm,
        password=PASSWORD.encode(),
        nonce=ours.nonce,
        method="",
        uri=ours.uri,
        qop="auth",
        nonce_count=1,
        cnonce=ours.cnonce or "",
    )
    registration.receive(ok(second, ("Authentication-Info", f'rspauth="{proof}"')), now=0.0)
    assert isinstance(events(registration)[0], Granted)


@pytest.mark.clause("RFC 5626 4.5")
def test_a_refresh_that_fails_is_tried_again_with_growing_waits() -> None:
    registration = registered(expires=100_000)
    registration.refresh(now=0.0)
    sent(registration)
    now, waits = 0.0, []
    for _ in range(8):
        registration.fail(TransportError("gone"), now=now)
        deadline = registration.next_timer()
        assert deadline is not None
        waits.append(deadline - now)
        now = deadline
        registration.handle_timer(now=now)
        sent(registration)
    for failures, wait in enumerate(waits, start=1):
        longest = min(1800.0, 30.0 * 2**failures)
        assert longest / 2 <= wait <= longest
    assert events(registration) == []


@pytest.mark.clause("RFC 5626 4.5")
def test_retry_after_lengthens_the_wait() -> None:
    registration = registered(expires=100_000)
    registration.refresh(now=0.0)
    registration.receive(reply(sent(registration), 503, ("Retry-After", "900")), now=0.0)
    assert registration.next_timer() == 900.0


@pytest.mark.clause("TS 24.229 5.1.1.4")
def test_a_registration_that_cannot_be_refreshed_is_lost_at_its_expiry() -> None:
    registration = registered(expires=100)
    registration.handle_timer(now=50.0)
    sent(registration)
    registration.fail(TransportError("gone"), now=50.0)
    while registration.state is not RegistrationState.ENDED:
        deadline = registration.next_timer()
        assert deadline is not None and deadline <= 100.0
        registration.handle_timer(now=deadline)
        if registration.poll_transmit() is not None:
            registration.fail(TransportError("gone"), now=deadline)
    (event,) = events(registration)
    assert isinstance(event, Lost) and isinstance(event.error, RegistrationFailed)


@pytest.mark.clause("TS 24.229 5.1.1.4")
def test_a_refused_refresh_loses_the_registration() -> None:
    registration = registered()
    registration.refresh(now=1.0)
    registration.receive(reply(sent(registration), 403), now=1.0)
    (event,) = events(registration)
    assert isinstance(event, Lost) and isinstance(event.error, RegistrationFailed)
    assert event.error.status == 403 and registration.next_timer() is None


@pytest.mark.clause("TS 24.229 5.1.1.6", "RFC 3261 10.2.2")
def test_deregistration_asks_for_no_time_and_answers_a_challenge() -> None:
    registration = registered()
    registration.deregister(now=5.0)
    request = sent(registration)
    assert request.contacts[0].param("expires") == "0"
    registration.receive(unauthorized(request), now=5.0)
    request = sent(registration)
    assert request.contacts[0].param("expires") == "0"
    registration.receive(reply(request, 200), now=5.0)
    assert events(registration) == [Deregistered(None)]
    assert registration.next_timer() is None
    registration.deregister(now=6.0)
    assert events(registration) == [Deregistered(None)]


def test_a_deregistration_that_fails_leaves_the_binding_to_expire() -> None:
    registration = registered()
    registration.deregister(now=5.0)
    error = OperationTimeout("timer F")
    registration.fail(error, now=37.0)
    assert events(registration) == [Deregistered(error)]


@pytest.mark.clause("RFC 3261 10.2")
def test_only_one_register_is_under_way() -> None:
    registration, request = started()
    with pytest.raises(LocalProtocolError):
        registration.register(now=0.0)
    registration.refresh(now=0.0)
    assert registration.poll_transmit() is None
    registration.receive(ok(request), now=0.1)
    refresh = sent(registration)
    registration.deregister(now=0.2)
    registration.deregister(now=0.2)
    assert registration.poll_transmit() is None
    registration.receive(ok(refresh), now=0.3)
    removal = sent(registration)
    assert removal.contacts[0].param("expires") == "0"
    registration.deregister(now=0.4)
    assert registration.poll_transmit() is None


@pytest.mark.parametrize("status", [403, 503])
def test_deregistration_that_was_asked_for_meanwhile_wins_over_a_failed_refresh(
    status: int,
) -> None:
    registration = registered()
    registration.refresh(now=1.0)
    request = sent(registration)
    registration.deregister(now=1.0)
    registration.receive(reply(request, status), now=1.1)
    if status == 503:
        registration.receive(reply(sent(registration), 200), now=1.2)
    assert events(registration) == [Deregistered(None)]


def test_deregistration_before_the_first_answer_wins_over_a_refusal() -> None:
    registration, request = started()
    registration.deregister(now=0.0)
    registration.receive(reply(request, 403), now=0.1)
    assert events(registration) == [Deregistered(None)]


@pytest.mark.clause("RFC 3261 10.2.4")
@pytest.mark.parametrize(
    "headers",
    [
        [("Contact", "<sip:someone@else.example>;expires=60")],
        [("Contact", f"<{CONTACT}>;expires=0")],
        [("Contact", "<")],
        [("Contact", f"<{CONTACT}>;expires=60"), ("Service-Route", "<")],
        [("Contact", f"<{CONTACT}>;expires=60"), ("Feature-Caps", "x y")],
    ],
)
def test_a_200_that_cannot_be_used_is_a_failure(headers: list[tuple[str, str]]) -> None:
    registration, request = started()
    registration.receive(reply(request, 200, *headers), now=0.0)
    error = refusal(registration)
    assert isinstance(error, RegistrationFailed) and error.status == 200


@pytest.mark.clause("RFC 3261 10.2.4")
def test_the_expires_header_and_then_our_own_wish_fill_in_for_the_parameter() -> None:
    registration, request = started()
    registration.receive(ok(request, ("Expires", "500"), expires=None), now=0.0)
    (granted,) = events(registration)
    assert isinstance(granted, Granted) and granted.expires_s == 500
    registration, request = started()
    registration.receive(reply(request, 200), now=0.0)
    (granted,) = events(registration)
    assert isinstance(granted, Granted) and granted.expires_s == 600_000


def test_a_contact_that_moved_is_registered_with_the_next_refresh() -> None:
    registration = registered()
    registration.move_contact("sip:alice@192.0.2.1:6000;transport=tls")
    registration.refresh(now=1.0)
    assert str(sent(registration).contacts[0].uri) == "sip:alice@192.0.2.1:6000;transport=tls"


def test_late_and_provisional_responses_say_nothing() -> None:
    registration, request = started()
    registration.receive(reply(request, 100), now=0.0)
    assert registration.state is RegistrationState.REGISTERING
    registration.receive(ok(request), now=0.0)
    registration.receive(reply(request, 403), now=0.1)
    registration.fail(OperationTimeout("late"), now=0.1)
    assert [type(event) for event in events(registration)] == [Granted]


def test_a_registration_can_be_made_again_after_it_ended() -> None:
    registration, request = started()
    registration.receive(reply(request, 403), now=0.0)
    events(registration)
    registration.register(now=1.0)
    registration.receive(ok(sent(registration)), now=1.0)
    (granted,) = events(registration)
    assert isinstance(granted, Granted) and not granted.is_refresh


@pytest.mark.parametrize("expires_s", [0, 2**32])
def test_a_lifetime_outside_of_its_range_is_our_own_mistake(expires_s: int) -> None:
    with pytest.raises(LocalProtocolError):
        machine(expires_s=expires_s)
