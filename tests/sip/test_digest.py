from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import (
    ConfigError,
    LocalProtocolError,
    ParseError,
    RemoteProtocolError,
    SecurityError,
)
from dcsdk.security import Secret
from dcsdk.sip.digest import DigestClient, DigestOutcome, DigestVerifier, select_challenge
from dcsdk.sip.digest_values import (
    MAX_AUTH_PARAMETERS,
    Challenge,
    Credentials,
    digest_response,
    parse_auth_parameters,
)
from tests.sip.strategies import line_text, tokens

PASSWORD = Secret("correct horse")


def entropy() -> Callable[[int], bytes]:
    counter = itertools.count()
    return lambda n: hashlib.shake_128(str(next(counter)).encode()).digest(n)


# --- vectors -------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 2617 3.5")
def test_the_example_of_rfc_2617() -> None:
    assert (
        digest_response(
            algorithm="md5",
            username="Mufasa",
            realm="testrealm@host.com",
            password=b"Circle Of Life",
            nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
            method="GET",
            uri="/dir/index.html",
            qop="auth",
            nonce_count=1,
            cnonce="0a4f113b",
        )
        == "6629fae49393a05397450978507c4ef1"
    )


@pytest.mark.clause("RFC 7616 3.9.1")
@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616(algorithm: str, expected: str) -> None:
    assert (
        digest_response(
            algorithm=algorithm,
            username="Mufasa",
            realm="http-auth@example.org",
            password=b"Circle of Life",
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            method="GET",
            uri="/dir/index.html",
            qop="auth",
            nonce_count=1,
            cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        )
        == expected
    )


IMS = {
    "username": "001010123456789@ims.mnc001.mcc001.3gppnetwork.org",
    "realm": "ims.mnc001.mcc001.3gppnetwork.org",
    "nonce": "I1U8vpY3qJ0hiuZNrke/NVXzKLQ1d7m5Sp/6w1Tfr7M=",
    "uri": "sip:ims.mnc001.mcc001.3gppnetwork.org",
    "method": "REGISTER",
}
RES = bytes.fromhex("a54211d5e3ba50bf")


@pytest.mark.clause("RFC 3310 3.3", "RFC 4169 3")
@pytest.mark.parametrize(
    ("algorithm", "password", "qop", "expected"),
    [
        ("MD5", RES, None, "486f3ee163ac4a424493c7ee626d3794"),
        ("MD5", RES, "auth", "cbefdcc54c81aa658d67da2fba29638c"),
        ("MD5", b"", None, "180933893eb8c4519e87ae2c9d5a1955"),
        ("MD5", b"shzt3q8CWaZnCAWqs3WmEQ==", "auth", "8bcf53b701e7803582f4167efb760cd0"),
        (
            "SHA-256",
            b"wpC+5dv/7kC35JEI2hluv8XcBd+vf8XcfedJBan1buk=",
            "auth",
            "7743037b1193cc9a360b4b31c0f324292b1799083a8c2d115e8fdff7883bec6b",
        ),
    ],
)
def test_the_formulas_take_any_password_bytes(
    algorithm: str, password: bytes, qop: str | None, expected: str
) -> None:
    count = {} if qop is None else {"nonce_count": 1, "cnonce": "0a4f113b"}
    found = digest_response(algorithm=algorithm, password=password, qop=qop, **IMS, **count)
    assert found == expected


def test_auth_int_covers_the_body_and_unknown_algorithms_are_refused() -> None:
    common = {"username": "u", "realm": "r", "password": b"p", "nonce": "n", "method": "M"}
    common |= {"uri": "sip:h", "cnonce": "c", "nonce_count": 1}
    one = digest_response(algorithm="SHA-512-256", qop="auth-int", body=b"1", **common)
    other = digest_response(algorithm="SHA-512-256", qop="auth-int", body=b"2", **common)
    assert one != other
    assert len(one) == 64
    with pytest.raises(LocalProtocolError):
        digest_response(algorithm="AKAv1-MD5", **common)


# --- values --------------------------------------------------------------------------------------
challenges = st.builds(
    Challenge,
    realm=line_text,
    nonce=line_text,
    algorithm=st.none() | tokens,
    qop=st.lists(st.sampled_from(["auth", "auth-int", "x"]), max_size=3).map(tuple),
    opaque=st.none() | line_text,
    is_stale=st.booleans(),
    others=st.sampled_from([(), (("ck", '"00ff"'),), (("domain", '"sip:a"'), ("x", "1"))]),
)
all_credentials = st.builds(
    Credentials,
    username=line_text,
    realm=line_text,
    nonce=line_text,
    uri=line_text,
    response=st.sampled_from(["", "0" * 32]),
    algorithm=st.none() | tokens,
    cnonce=st.none() | line_text,
    opaque=st.none() | line_text,
    qop=st.none() | st.sampled_from(["auth", "auth-int"]),
    nonce_count=st.none() | st.integers(0, 2**32 - 1),
    others=st.sampled_from([(), (("integrity-protected", '"yes"'), ("auts", '"AA=="'))]),
)


@given(challenges)
def test_a_challenge_round_trips(challenge: Challenge) -> None:
    assert Challenge.parse(str(challenge)) == challenge


@given(all_credentials)
def test_credentials_round_trip(credentials: Credentials) -> None:
    assert Credentials.parse(str(credentials)) == credentials


@pytest.mark.parametrize("parse", [Challenge.parse, Credentials.parse])
@given(text=st.text() | st.text(' ,="\\rdnoce').map(lambda t: 'Digest realm="r",nonce=1' + t))
def test_any_text_gives_a_value_or_a_parse_error(parse: Callable[[str], object], text: str) -> None:
    with contextlib.suppress(ParseError):
        value = parse(text)
        assert parse(str(value)) == value


def test_a_challenge_of_a_real_core_is_read() -> None:
    challenge = Challenge.parse(
        'digest realm="ims.example",nonce=abc==,  qop="auth, AUTH-INT" ,, Stale=TRUE,'
        'algorithm=SHA-256,opaque="",ck="0f"'
    )
    assert challenge == Challenge(
        realm="ims.example",
        nonce="abc==",
        algorithm="SHA-256",
        qop=("auth", "auth-int"),
        opaque="",
        is_stale=True,
        others=(("ck", '"0f"'),),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Bearer x=1",
        "Digest",
        'Digest realm="r"',
        'Digest nonce="n"',
        'Digest realm="r", realm="s", nonce="n"',
        'Digest realm="r" nonce="n"',
        'Digest realm="r, nonce="n"',
        "Digest =x",
    ],
)
def test_a_bad_challenge_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        Challenge.parse(text)


@pytest.mark.parametrize("count", ["1", "0000000g", "000000001"])
def test_a_bad_nonce_count_is_refused(count: str) -> None:
    with pytest.raises(ParseError):
        Credentials.parse(f'Digest username="u",realm="r",nonce="n",uri="x",response="",nc={count}')


def test_the_number_of_auth_parameters_is_bounded() -> None:
    text = ",".join(f"p{i}=1" for i in range(MAX_AUTH_PARAMETERS))
    assert len(parse_auth_parameters(text)) == MAX_AUTH_PARAMETERS
    with pytest.raises(ParseError):
        parse_auth_parameters(text + ",more=1")


def test_an_algorithm_that_is_no_token_is_not_written() -> None:
    with pytest.raises(LocalProtocolError):
        str(Challenge(realm="r", nonce="n", algorithm="a b"))


# --- client --------------------------------------------------------------------------------------
SHA = 'Digest realm="r",nonce="n2",algorithm=SHA-256,qop="auth"'
MD5 = 'Digest realm="r",nonce="n1",algorithm=MD5,qop="auth"'
AKA = 'Digest realm="r",nonce="n0",algorithm=AKAv1-MD5,qop="auth"'


def client(**options: object) -> DigestClient:
    return DigestClient("u", PASSWORD, **options)  # type: ignore[arg-type]


@pytest.mark.clause("RFC 8760 2.4")
def test_the_topmost_supported_challenge_is_answered() -> None:
    assert select_challenge([AKA, "Bearer x", "Digest", MD5, SHA]).nonce == "n1"
    assert select_challenge([SHA, MD5]).nonce == "n2"
    odd = 'Digest realm="r",nonce="n3",qop="other"'
    assert select_challenge([odd, SHA]).nonce == "n2"


@pytest.mark.parametrize("values", [[], [AKA], ["Bearer x"], [SHA] * 0 + [AKA] * 20 + [SHA]])
def test_without_a_supported_challenge_nothing_is_answered(values: list[str]) -> None:
    with pytest.raises(RemoteProtocolError):
        select_challenge(values)


def test_a_downgrade_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        client(algorithms=("SHA-256",)).authorize([MD5], method="M", uri="sip:r", cnonce="c")


def test_uses_of_a_nonce_are_counted() -> None:
    user = client()
    assert user.reauthorize(method="M", uri="sip:r", cnonce="c") is None
    values = [
        user.authorize([MD5], method="REGISTER", uri="sip:r", cnonce="c1"),
        user.reauthorize(method="INVITE", uri="sip:b", cnonce="c2"),
        user.authorize([MD5], method="BYE", uri="sip:b", cnonce="c3"),
        user.authorize([SHA], method="BYE", uri="sip:b", cnonce="c4"),
    ]
    found = [Credentials.parse(v or "") for v in values]
    assert [c.nonce_count for c in found] == [1, 2, 3, 1]
    assert [c.cnonce for c in found] == ["c1", "c2", "c3", "c4"]
    assert "correct horse" not in "".join(map(str, values))


def test_a_challenge_without_qop_is_answered_in_the_old_form() -> None:
    value = client().authorize(
        ['Digest realm="r",nonce="n",opaque="o"'], method="M", uri="sip:r", cnonce="c"
    )
    credentials = Credentials.parse(value)
    assert (credentials.qop, credentials.cnonce, credentials.nonce_count) == (None, None, None)
    assert (credentials.opaque, credentials.algorithm) == ("o", None)
    assert credentials.response == credentials.expected_response(b"correct horse", "M")


@pytest.mark.clause("TS 24.229 5.1.1.2")
def test_the_first_register_carries_empty_credentials() -> None:
    credentials = Credentials.parse(client().initial("r", "sip:r"))
    assert (credentials.username, credentials.nonce, credentials.response) == ("u", "", "")


@pytest.mark.clause("RFC 7616 3.5")
def test_the_server_proves_itself_and_gives_the_next_nonce() -> None:
    verifier, user = DigestVerifier("r", entropy=entropy()), client()
    value = user.authorize(verifier.challenges(now=0.0), method="M", uri="sip:r", cnonce='c"')
    info = verifier.authentication_info(Credentials.parse(value), PASSWORD)
    user.check_authentication_info(info + ', nextnonce="fresh"')
    again = Credentials.parse(user.reauthorize(method="M", uri="sip:r", cnonce="c") or "")
    assert (again.nonce, again.nonce_count, again.algorithm) == ("fresh", 1, "SHA-256")


def test_a_server_that_does_not_know_the_password_is_refused() -> None:
    verifier, user = DigestVerifier("r", entropy=entropy()), client()
    user.check_authentication_info('rspauth="00", nextnonce="x"')  # before any request: no claim
    value = user.authorize(verifier.challenges(now=0.0), method="M", uri="sip:r", cnonce="c")
    info = verifier.authentication_info(Credentials.parse(value), Secret("guess"))
    with pytest.raises(SecurityError):
        user.check_authentication_info(info)
    user.check_authentication_info("qop=auth")


@pytest.mark.parametrize("algorithms", [(), ("SHA-1",)])
def test_unknown_algorithms_are_a_configuration_error(algorithms: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        client(algorithms=algorithms)


# --- server --------------------------------------------------------------------------------------
def answer(verifier: DigestVerifier, now: float, **changes: object) -> Credentials:
    value = client().authorize(
        verifier.challenges(now=now), method="REGISTER", uri="sip:r", cnonce="c"
    )
    found = Credentials.parse(value)
    for name, changed in changes.items():
        object.__setattr__(found, name, changed)
    return found


def check(verifier: DigestVerifier, credentials: Credentials, now: float) -> DigestOutcome:
    return verifier.verify(credentials, method="REGISTER", password=PASSWORD, uri="sip:R", now=now)


@pytest.mark.clause("RFC 8760 2.3")
def test_one_challenge_per_algorithm_best_first() -> None:
    verifier = DigestVerifier("r", entropy=entropy())
    found = [Challenge.parse(v) for v in verifier.challenges(now=1.0, is_stale=True)]
    assert [c.algorithm for c in found] == ["SHA-256", "MD5"]
    assert all(c.is_stale and c.qop == ("auth",) for c in found)


def test_right_credentials_are_accepted_once() -> None:
    verifier = DigestVerifier("r", entropy=entropy())
    credentials = answer(verifier, 1.0)
    assert check(verifier, credentials, 2.0) is DigestOutcome.ACCEPTED
    assert check(verifier, credentials, 2.0) is DigestOutcome.STALE


def test_a_nonce_expires() -> None:
    verifier = DigestVerifier("r", entropy=entropy(), nonce_lifetime_s=10.0)
    credentials = answer(verifier, 1.0)
    assert check(verifier, credentials, 11.1) is DigestOutcome.STALE


@pytest.mark.parametrize(
    "changes",
    [
        {"response": "0" * 64},
        {"realm": "other"},
        {"algorithm": "SHA-512-256"},
        {"algorithm": None},
        {"qop": None},
        {"qop": "auth-int"},
        {"nonce_count": None},
        {"nonce_count": 0},
        {"cnonce": None},
        {"uri": "sip:elsewhere"},
        {"uri": "<"},
        {"username": "eve"},
    ],
)
def test_changed_credentials_are_rejected(changes: dict[str, object]) -> None:
    verifier = DigestVerifier("r", entropy=entropy())
    assert check(verifier, answer(verifier, 1.0, **changes), 1.0) is DigestOutcome.REJECTED


@pytest.mark.parametrize("nonce", ["", "x", "ü", "AAAA", "A" * 44])
def test_a_nonce_that_is_not_ours_is_stale(nonce: str) -> None:
    verifier = DigestVerifier("r", entropy=entropy())
    value = client().authorize(
        [str(Challenge(realm="r", nonce=nonce, algorithm="SHA-256", qop=("auth",)))],
        method="REGISTER",
        uri="sip:r",
        cnonce="c",
    )
    assert check(verifier, Credentials.parse(value), 1.0) is DigestOutcome.STALE


def test_forgetting_a_nonce_allows_no_replay() -> None:
    verifier = DigestVerifier("r", entropy=entropy(), max_nonces=2)
    used = [answer(verifier, now) for now in (1.0, 2.0, 3.0, 4.0)]
    assert [check(verifier, c, 5.0) for c in used] == [DigestOutcome.ACCEPTED] * 4
    assert [check(verifier, c, 5.0) for c in used] == [DigestOutcome.STALE] * 4
    assert check(verifier, answer(verifier, 5.0), 5.0) is DigestOutcome.ACCEPTED


@pytest.mark.parametrize("options", [{"max_nonces": 0}, {"nonce_lifetime_s": 0.0}])
def test_bounds_below_one_are_a_configuration_error(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        DigestVerifier("r", entropy=entropy(), **options)  # type: ignore[arg-type]
