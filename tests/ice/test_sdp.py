from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import ParseError
from dcsdk.ice import IceCredentials, IceDescription, without_ice
from dcsdk.ice.sdp import MAX_CANDIDATE_LINES, MAX_OPTIONS, MAX_PACING_MS
from dcsdk.sdp.attributes import Attribute

from .test_candidate import HOST, ICE_CHARS, REFLEXIVE, candidates, hosts

UFRAG, PASSWORD = Attribute("ice-ufrag", "8hhY"), Attribute("ice-pwd", "asd88fgpdd777uzjYhagZg")

descriptions = st.builds(
    IceDescription,
    credentials=st.builds(
        IceCredentials,
        ufrag=st.text(alphabet=ICE_CHARS, min_size=4, max_size=20),
        password=st.text(alphabet=ICE_CHARS, min_size=22, max_size=40),
    ),
    candidates=st.lists(candidates, max_size=5).map(tuple),
    is_lite=st.booleans(),
    is_complete=st.booleans(),
    is_mismatch=st.booleans(),
    options=st.lists(
        st.text(alphabet=string.ascii_letters + string.digits, min_size=1, max_size=10),
        max_size=4,
        unique=True,
    ).map(tuple),
    pacing_ms=st.none() | st.integers(0, MAX_PACING_MS),
    remote_candidates=st.lists(
        st.tuples(st.integers(1, 256), hosts, st.integers(0, 65535)), max_size=3
    ).map(tuple),
)
names = st.sampled_from(
    ["ice-ufrag", "ice-pwd", "candidate", "ice-options", "ice-pacing", "remote-candidates", "mid"]
)
line_text = st.text(
    alphabet=st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), max_size=60
)


def parse(*attributes: Attribute, session: tuple[Attribute, ...] = ()) -> IceDescription:
    found = IceDescription.parse(attributes, session)
    assert found is not None
    return found


@given(description=descriptions)
def test_what_is_written_is_read_again(description: IceDescription) -> None:
    others = (Attribute("sctp-port", "5000"),)
    attributes = description.media_attributes + others
    assert IceDescription.parse(attributes, description.session_attributes) == description
    assert without_ice(attributes + description.session_attributes) == others


@given(
    media=st.lists(st.builds(Attribute, names, st.none() | line_text), max_size=6),
    session=st.lists(st.builds(Attribute, names, st.none() | line_text), max_size=3),
)
def test_any_attributes_are_a_description_or_none_or_a_parse_error(
    media: list[Attribute], session: list[Attribute]
) -> None:
    for more in ([], [UFRAG, PASSWORD]):
        try:
            IceDescription.parse([*media, *more], session)
        except ParseError:
            continue


@pytest.mark.clause("RFC 8839 4.2.5")
def test_a_peer_without_credentials_does_not_speak_ice() -> None:
    assert IceDescription.parse([Attribute("sctp-port", "5000")]) is None


@pytest.mark.clause("RFC 8839 5.4")
def test_credentials_of_the_session_are_the_default_of_its_media() -> None:
    other = Attribute("ice-ufrag", "other")
    assert parse(session=(UFRAG, PASSWORD)).credentials.ufrag == "8hhY"
    assert parse(other, session=(UFRAG, PASSWORD)).credentials.ufrag == "other"


@pytest.mark.clause("RFC 8839 5.4")
@pytest.mark.parametrize(
    "attributes",
    [
        (UFRAG,),
        (PASSWORD,),
        (UFRAG, PASSWORD, Attribute("ice-ufrag", "else")),
        (Attribute("ice-ufrag"), PASSWORD),
        (Attribute("ice-ufrag", "abc"), PASSWORD),
    ],
)
def test_credentials_that_are_not_whole_are_refused(attributes: tuple[Attribute, ...]) -> None:
    with pytest.raises(ParseError):
        IceDescription.parse(attributes)


@pytest.mark.clause("RFC 8839 5.3", "RFC 8838 8")
def test_flags_of_session_and_media_are_read() -> None:
    lite = (Attribute("ice-lite"),)
    complete = parse(UFRAG, PASSWORD, Attribute("end-of-candidates"), session=lite)
    assert complete.is_lite
    assert complete.is_complete
    assert not parse(UFRAG, PASSWORD).is_lite
    assert parse(UFRAG, PASSWORD, Attribute("ice-mismatch")).is_mismatch


@pytest.mark.clause("RFC 8839 5.6")
def test_options_of_session_and_media_add_up() -> None:
    found = parse(
        UFRAG,
        PASSWORD,
        Attribute("ice-options", "trickle google-ice"),
        session=(Attribute("ice-options", "ice2 trickle"),),
    )
    assert found.options == ("ice2", "trickle", "google-ice")


@pytest.mark.clause("RFC 8839 5.5")
def test_a_pace_is_read_and_bounded() -> None:
    assert parse(UFRAG, PASSWORD, session=(Attribute("ice-pacing", "50"),)).pacing_ms == 50
    slow = parse(UFRAG, PASSWORD, session=(Attribute("ice-pacing", "9999999999"),))
    assert slow.pacing_ms == MAX_PACING_MS


@pytest.mark.clause("RFC 8839 5.2")
def test_remote_candidates_are_read() -> None:
    value = "1 192.0.2.3 45664 2 2001:db8::1 9"
    found = parse(UFRAG, PASSWORD, Attribute("remote-candidates", value))
    assert found.remote_candidates == ((1, "192.0.2.3", 45664), (2, "2001:db8::1", 9))


@pytest.mark.parametrize(
    "attribute",
    [
        Attribute("candidate", "nonsense"),
        Attribute("candidate"),
        Attribute("ice-options", "a  b"),
        Attribute("ice-options", " ".join(str(n) for n in range(MAX_OPTIONS + 1))),
        Attribute("ice-pacing", "fast"),
        Attribute("remote-candidates", "1 192.0.2.3"),
        Attribute("remote-candidates", "0 192.0.2.3 5000"),
        Attribute("remote-candidates", "1 192.0.2.3 65536"),
        Attribute("remote-candidates", "1 192.0.2.3 x"),
    ],
)
def test_a_malformed_attribute_is_refused(attribute: Attribute) -> None:
    with pytest.raises(ParseError):
        IceDescription.parse([UFRAG, PASSWORD, attribute])


def test_too_many_candidates_are_refused() -> None:
    lines = [Attribute("candidate", HOST)] * MAX_CANDIDATE_LINES
    assert len(parse(UFRAG, PASSWORD, *lines).candidates) == MAX_CANDIDATE_LINES
    with pytest.raises(ParseError, match="more than"):
        IceDescription.parse([UFRAG, PASSWORD, *lines, Attribute("candidate", REFLEXIVE)])


@pytest.mark.clause("RFC 8839 4.4.3")
def test_a_restart_is_seen_by_the_credentials() -> None:
    before = parse(UFRAG, PASSWORD)
    assert not parse(UFRAG, PASSWORD, Attribute("candidate", HOST)).is_restart_of(before)
    assert parse(Attribute("ice-ufrag", "else"), PASSWORD).is_restart_of(before)
    assert before.with_candidates(parse(UFRAG, PASSWORD).candidates) == before
