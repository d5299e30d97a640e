"""``Security-Client``, ``-Server``, ``-Verify`` lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import ParseError
from dcsdk.ims.mediasec import (
    MAX_MECHANISMS,
    SecurityMechanism,
    agreed,
    are_equal,
    format_list,
    media_mechanisms,
    parse_list,
    signalling_mechanisms,
)

CLIENT = (
    "ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;prot=esp;mod=trans;"
    "spi-c=11111;spi-s=22222;port-c=40001;port-s=40002, "
    "sdes-srtp;mediasec,msrp-tls;mediasec,bfcp-tls;mediasec,udptl-dtls;mediasec"
)
SERVER = "ipsec-3gpp;q=0.9;alg=hmac-sha-1-96;ealg=aes-cbc, sdes-srtp;mediasec,msrp-tls;mediasec"


@pytest.mark.clause("TS 24.229 7.2A.7", "TS 33.328 7.1")
def test_the_worked_exchange_agrees_on_sdes_and_msrp() -> None:
    client, server = parse_list(CLIENT), parse_list(SERVER)
    assert agreed(client, server) == {"sdes-srtp", "msrp-tls"}
    assert agreed(client, ()) == frozenset()
    assert [entry.name for entry in signalling_mechanisms(server)] == ["ipsec-3gpp"]
    assert [entry.name for entry in media_mechanisms(server)] == ["sdes-srtp", "msrp-tls"]
    assert server[0].get("ALG") == "hmac-sha-1-96"
    assert server[0].get("spi-c") is None


@pytest.mark.clause("RFC 3329 2.2")
def test_several_lines_and_one_comma_list_mean_the_same() -> None:
    assert parse_list(["msrp-tls;mediasec", "sdes-srtp ; mediasec"]) == parse_list(
        "msrp-tls;mediasec , sdes-srtp;mediasec"
    )


def test_names_are_case_insensitive() -> None:
    assert parse_list("SDES-SRTP;MediaSec") == (SecurityMechanism.media("sdes-srtp"),)


@pytest.mark.clause("RFC 3329 2.3.1")
def test_what_came_is_echoed_as_it_came() -> None:
    text = 'Foo;Bar="a,b;c\\"d";x=[::1]'
    (mechanism,) = parse_list(f"  {text} ")
    assert str(mechanism) == text
    assert mechanism.parameters == (("bar", '"a,b;c\\"d"'), ("x", "[::1]"))
    assert format_list(parse_list(f"{text} ,sdes-srtp;mediasec")) == f"{text}, sdes-srtp;mediasec"


@pytest.mark.clause("TS 33.328 7.1.X")
def test_our_own_entry_is_written() -> None:
    assert str(SecurityMechanism.media("e2dce-dtls")) == "e2dce-dtls;mediasec"
    assert str(SecurityMechanism(name="tls", parameters=(("q", "0.5"),))) == "tls;q=0.5"
    assert not SecurityMechanism(name="tls").is_mediasec


@pytest.mark.parametrize(
    ("text", "preference"),
    [("tls;q=0.9", 0.9), ("tls;q=1.000", 1.0), ("tls", 0.001), ("tls;q=2", 0.001), ("a;q=0", 0.0)],
)
def test_the_preference_is_read(text: str, preference: float) -> None:
    assert parse_list(text)[0].preference == preference


@pytest.mark.clause("E4", "RFC 3329 2.3.1")
@pytest.mark.parametrize(
    ("other", "is_equal"),
    [
        ("tls;q=0.5;x=Y, sdes-srtp;mediasec", True),
        ("TLS;X=y;q=0.5,SDES-SRTP;MEDIASEC", True),
        ("sdes-srtp;mediasec, tls;q=0.5;x=y", False),
        ("tls;q=0.5;x=y", False),
        ("tls;q=0.6;x=y, sdes-srtp;mediasec", False),
        ("tls;q=0.5;x=y, sdes-srtp", False),
        ("tls;q=0.5;x=y;z, sdes-srtp;mediasec", False),
        ("tls;q=0.5;x=y, sdes-srtp;mediasec, msrp-tls;mediasec", False),
    ],
)
def test_lists_are_equal_when_mechanisms_order_and_values_are(other: str, is_equal: bool) -> None:
    ours = parse_list("tls;q=0.5;x=y, sdes-srtp;mediasec")
    assert are_equal(ours, parse_list(other)) is is_equal


def test_quoted_values_are_compared_exactly() -> None:
    assert not are_equal(parse_list('a;x="Y"'), parse_list('a;x="y"'))


def test_empty_lines_hold_no_mechanism() -> None:
    assert parse_list(["", " ", "tls"]) == parse_list("tls")
    assert parse_list([]) == ()


@pytest.mark.parametrize(
    "value",
    [
        ",",
        "tls,",
        "tls,,a",
        ";mediasec",
        "tls x",
        'tls;x="',
        "tls;=1",
        "tls;x=",
        "tls; ;y",
        "tls\r\nEvil: 1",
        "tls;\r\nx",
        "tls\n,x",
        ",".join(["tls"] * (MAX_MECHANISMS + 1)),
        "t" * 20_000,
        "t" * 200,
    ],
)
def test_what_is_no_list_is_a_parse_error(value: str) -> None:
    with pytest.raises(ParseError):
        parse_list(value)


TOKENS = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=12)
PARAMETERS = st.tuples(TOKENS.map(str.lower), st.none() | TOKENS)
MECHANISMS = st.builds(
    SecurityMechanism,
    name=TOKENS.map(str.lower),
    parameters=st.lists(st.tuples(TOKENS.map(str.lower), st.none() | TOKENS), max_size=4).map(
        tuple
    ),
)


@given(mechanisms=st.lists(MECHANISMS, max_size=5).map(tuple))
def test_every_list_round_trips(mechanisms: tuple[SecurityMechanism, ...]) -> None:
    assert parse_list(format_list(mechanisms)) == mechanisms


@given(value=st.text(max_size=80) | st.from_regex(r"[a-z]+(;[a-z]+(=[a-z0-9\"]*)?)*(,[a-z;]+)*"))
def test_any_text_is_a_list_or_a_parse_error(value: str) -> None:
    try:
        mechanisms = parse_list(value)
    except ParseError:
        return
    assert are_equal(parse_list(format_list(mechanisms)), mechanisms)
