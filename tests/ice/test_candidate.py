from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import ConfigError, ParseError
from dcsdk.ice.candidate import Candidate, IceCredentials, canonical_address, reflexive_priority

ICE_CHARS = string.ascii_letters + string.digits + "+/"
HOST = "1 1 UDP 2130706431 203.0.113.141 8998 typ host"
REFLEXIVE = "2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998"

words = st.text(alphabet=string.ascii_letters + string.digits + "-.", min_size=1, max_size=20)
hosts = st.ip_addresses().map(str) | words
candidates = st.builds(
    Candidate,
    foundation=st.text(alphabet=ICE_CHARS, min_size=1, max_size=32),
    component=st.integers(1, 256),
    transport=st.sampled_from(["UDP", "udp", "TCP", "dccp"]),
    priority=st.integers(1, 2**31 - 1),
    host=hosts,
    port=st.integers(0, 65535),
    type=st.sampled_from(["host", "srflx", "prflx", "relay", "other"]),
    related_address=st.none() | hosts,
    related_port=st.none() | st.integers(0, 65535),
    extensions=st.lists(
        st.tuples(words.filter(lambda word: word not in ("raddr", "rport")), words), max_size=5
    ).map(tuple),
)


# --- a=candidate ----------------------------------------------------------------------------------
BASE = Candidate.host_candidate(("192.0.2.1", 4000))


@pytest.mark.clause("RFC 8839 5.1")
def test_the_examples_of_the_standard_are_read_and_written() -> None:
    host, reflexive = Candidate.parse(HOST), Candidate.parse(REFLEXIVE)
    assert (str(host), str(reflexive)) == (HOST, REFLEXIVE)
    assert host.address == ("203.0.113.141", 8998)
    assert reflexive.related_address == "203.0.113.141"
    assert reflexive.related_port == 8998
    assert host.is_usable(BASE)


def test_a_browsers_extensions_are_kept() -> None:
    text = "842163049 1 udp 1677729535 10.0.0.1 46154 typ srflx raddr 0.0.0.0 rport 0 generation 0"
    text += " ufrag EsAw network-cost 999"
    candidate = Candidate.parse(text)
    assert candidate.extensions[-1] == ("network-cost", "999")
    assert str(candidate) == text


@given(candidate=candidates)
def test_what_is_written_is_read_again(candidate: Candidate) -> None:
    assert Candidate.parse(str(candidate)) == candidate


@given(text=st.text(max_size=80) | st.lists(words, max_size=14).map(" ".join))
def test_any_text_is_a_candidate_or_a_parse_error(text: str) -> None:
    try:
        candidate = Candidate.parse(text)
    except ParseError:
        return
    candidate.is_usable(BASE, allow_loopback=True)


@pytest.mark.clause("RFC 8839 5.1")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 1 UDP 1 192.0.2.1 1 typ",
        "1 1 UDP 1 192.0.2.1 1 type host",
        "1 1 UDP 1 192.0.2.1 1 typ host generation",
        "? 1 UDP 1 192.0.2.1 1 typ host",
        f"{'a' * 33} 1 UDP 1 192.0.2.1 1 typ host",
        "1 0 UDP 1 192.0.2.1 1 typ host",
        "1 257 UDP 1 192.0.2.1 1 typ host",
        "1 1 U(P 1 192.0.2.1 1 typ host",
        "1 1 UDP 0 192.0.2.1 1 typ host",
        "1 1 UDP 2147483648 192.0.2.1 1 typ host",
        "1 1 UDP 1 192.0.2.1 65536 typ host",
        "1 1 UDP 1 192.0.2.1 1 typ ho(st",
        "1 1 UDP 1 192.0.2.1 1 typ host raddr 192.0.2.1 rport 65536",
        "1 1 UDP 1  1 typ host x",
        "1 1 UDP 1 \x7f 1 typ host",
        HOST + " x y" * 17,
        HOST + " x " + "y" * 1024,
    ],
)
def test_a_malformed_candidate_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        Candidate.parse(text)


@pytest.mark.clause("RFC 8445 5.1.1.1", "RFC 8839 5.1")
@pytest.mark.parametrize(
    "text",
    [
        "1 1 UDP 1 7f3a.local 5000 typ host",
        "1 1 TCP 1 192.0.2.1 9 typ host tcptype active",
        "1 2 UDP 1 192.0.2.1 5000 typ host",
        "1 1 UDP 1 192.0.2.1 0 typ host",
        "1 1 UDP 1 192.0.2.1 5000 typ other",
        "1 1 UDP 1 0.0.0.0 5000 typ host",
        "1 1 UDP 1 239.1.2.3 5000 typ host",
        "1 1 UDP 1 0.1.2.3 5000 typ host",
        "1 1 UDP 1 240.0.0.1 5000 typ host",
        "1 1 UDP 1 255.255.255.255 5000 typ host",
        "1 1 UDP 1 ::ffff:192.0.2.1 5000 typ host",
        "1 1 UDP 1 fe80::1%eth0 5000 typ host",
    ],
)
def test_what_no_check_can_be_sent_to_is_no_error_but_of_no_use(text: str) -> None:
    assert not Candidate.parse(text).is_usable(BASE, allow_loopback=True)


@pytest.mark.clause("RFC 8445 5.1.1.1")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1"])
@pytest.mark.parametrize("own", ["127.0.0.1", "::1"])
def test_loopback_is_used_from_loopback_or_where_it_is_allowed(host: str, own: str) -> None:
    candidate = Candidate.host_candidate((host, 5000))
    assert candidate.is_usable(Candidate.host_candidate((own, 5001)))
    assert candidate.is_usable(BASE, allow_loopback=True)
    assert not candidate.is_usable(BASE)


@pytest.mark.clause("RFC 8445 6.1.2.2")
@pytest.mark.parametrize("host", ["169.254.169.254", "fe80::1"])
def test_link_local_addresses_are_used_from_their_like(host: str) -> None:
    candidate = Candidate.host_candidate((host, 80))
    assert candidate.is_usable(Candidate.host_candidate(("169.254.1.1", 5001)))
    assert candidate.is_usable(Candidate.host_candidate(("fe80::2", 5001)))
    assert not candidate.is_usable(BASE, allow_loopback=True)


# --- our own --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8445 5.1.2.1")
def test_priorities_follow_the_recommended_formula() -> None:
    first = Candidate.host_candidate(("192.0.2.1", 5000))
    second = Candidate.host_candidate(("192.0.2.1", 5001), 65_534)
    assert first.priority == (126 << 24) + (65_535 << 8) + 255
    assert second.priority == first.priority - 256
    assert second.preference == 65_534
    assert reflexive_priority(65_535) == (110 << 24) + (65_535 << 8) + 255


@pytest.mark.clause("RFC 8445 5.1.1.3")
def test_foundations_differ_by_address_only() -> None:
    one, port, other = (
        Candidate.host_candidate(address).foundation
        for address in (("192.0.2.1", 1), ("192.0.2.1", 2), ("192.0.2.2", 1))
    )
    assert one == port != other


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost", "fe80::1%eth0"])  # noqa: S104
def test_a_host_candidate_needs_an_address_one_can_send_to(host: str) -> None:
    with pytest.raises(ConfigError):
        Candidate.host_candidate((host, 5000))


def test_addresses_are_compared_in_one_form() -> None:
    assert canonical_address("2001:DB8:0::1", 5) == ("2001:db8::1", 5)
    assert canonical_address("example.org", 5) is None


# --- credentials ----------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8445 5.3", "RFC 8839 5.4")
def test_new_credentials_are_long_enough_and_not_shown() -> None:
    credentials = IceCredentials.generate(lambda count: b"\xab" * count)
    assert credentials.ufrag == "ab" * 4
    assert credentials.password == "ab" * 16
    assert credentials.key == b"ab" * 16
    assert credentials.password not in repr(credentials)


@pytest.mark.parametrize(
    ("ufrag", "password"),
    [("abc", "p" * 22), ("a" * 257, "p" * 22), ("ab:d", "p" * 22), ("abcd", "p" * 21)],
)
def test_credentials_out_of_range_are_refused(ufrag: str, password: str) -> None:
    with pytest.raises(ParseError):
        IceCredentials(ufrag=ufrag, password=password)
