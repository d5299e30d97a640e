"""Descriptions with other attributes, and nothing else changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.sdp.attributes import Attribute, Setup
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.sdp.rewrite import remove_from_lines, rewrite, rewrite_session, with_session_defaults
from dcsdk.sdp.session import SessionDescription
from tests.sdp.vectors import FP_A, FP_B, HEAD

AUDIO = "m=audio 49170 RTP/SAVP 96\r\ni=speech\r\nb=AS:64\r\n"
SESSION = HEAD + f"a=setup:actpass\r\na=fingerprint:{FP_A}\r\na=group:LS 1\r\n"
TWO_LINES = (
    SESSION + AUDIO + "a=crypto:1 x inline:y\r\na=mid:1\r\n"
    f"m=video 49172 RTP/AVP 97\r\na=fingerprint:{FP_B}\r\na=mid:2\r\n"
)


def parse(text: str) -> SessionDescription:
    return SessionDescription.parse(text)


def test_a_line_is_rewritten_and_keeps_what_is_not_named() -> None:
    (media,) = parse(HEAD + AUDIO + "a=crypto:1 x inline:y\r\na=sendonly\r\n").media
    changed = rewrite(
        media,
        proto="RTP/AVP",
        remove=("crypto", "3ge2ae"),
        add=(Attribute("rtcp-mux"), ("3ge2ae", "applied")),
    )
    assert str(changed) == (
        AUDIO.replace("RTP/SAVP", "RTP/AVP") + "a=sendonly\r\na=rtcp-mux\r\na=3ge2ae:applied\r\n"
    )
    assert rewrite(media) == media


def test_what_is_removed_and_added_has_the_new_value_only() -> None:
    (media,) = parse(HEAD + AUDIO + "a=setup:active\r\n").media
    changed = rewrite(media, remove=("setup",), add=(("setup", "passive"),))
    assert changed.get_all("setup") == ("passive",)


def test_session_level_attributes_are_rewritten_and_no_line_changes() -> None:
    session = parse(TWO_LINES)
    changed = rewrite_session(session, remove=("fingerprint",), add=(("ice-lite", None),))
    assert [str(entry) for entry in changed.attributes] == [
        "setup:actpass",
        "group:LS 1",
        "ice-lite",
    ]
    assert changed.media == session.media
    assert changed.lines[:5] == session.lines[:5]


@pytest.mark.clause("RFC 8122 5", "RFC 4145 4", "RFC 8839 5.4", "RFC 8866 5.7")
def test_a_line_that_stands_alone_has_what_it_inherited() -> None:
    head = SESSION + "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
    session = parse(head + AUDIO + f"a=fingerprint:{FP_B}\r\na=ice-ufrag:efgh\r\n")
    alone = with_session_defaults(session.media[0], session)
    assert str(alone) == (
        AUDIO.replace("b=AS", "c=IN IP4 192.0.2.10\r\nb=AS")
        + f"a=fingerprint:{FP_B}\r\na=ice-ufrag:efgh\r\na=setup:actpass\r\n"
        "a=ice-pwd:0123456789012345678901\r\n"
    )
    assert with_session_defaults(alone, session) == alone
    bare = parse(HEAD.replace("c=IN IP4 192.0.2.10\r\n", "") + AUDIO)
    assert with_session_defaults(bare.media[0], bare) == bare.media[0]


@pytest.mark.clause("RFC 8122 5", "RFC 4145 4")
def test_a_line_loses_what_it_inherits_and_the_others_keep_it() -> None:
    session = parse(TWO_LINES)
    changed = remove_from_lines(session, ("setup", "fingerprint"), (0,))
    assert not changed.has("setup")
    assert not changed.has("fingerprint")
    assert changed.has("group")
    speech, video = changed.media
    assert speech == session.media[0]
    assert speech.effective_setup(changed) is None
    assert speech.fingerprints(changed) == ()
    assert video.effective_setup(changed) is Setup.ACTPASS
    assert video.fingerprints(changed) == (Fingerprint.parse(FP_B),)


@pytest.mark.clause("RFC 8122 5")
def test_a_line_loses_its_own_value_together_with_the_inherited_one() -> None:
    changed = remove_from_lines(parse(TWO_LINES), ("fingerprint",), {1})
    assert changed.media[1].fingerprints(changed) == ()
    assert changed.media[0].fingerprints(changed) == (Fingerprint.parse(FP_A),)
    assert changed.has("setup")


def test_removal_from_no_line_changes_nothing() -> None:
    session = parse(TWO_LINES)
    assert remove_from_lines(session, ("setup",), ()) == session
    assert remove_from_lines(session, ("nothing",), (0, 1)) == session


NAMES = st.sampled_from(("setup", "fingerprint", "ice-ufrag", "x"))
ATTRIBUTES = st.lists(st.tuples(NAMES, st.sampled_from(("1", "2"))), max_size=4)


@given(
    head=ATTRIBUTES,
    lines=st.lists(ATTRIBUTES, min_size=1, max_size=4),
    names=st.frozensets(NAMES),
    indices=st.frozensets(st.integers(min_value=0, max_value=3)),
)
def test_removal_never_changes_what_another_line_means(
    head: list[tuple[str, str]],
    lines: list[list[tuple[str, str]]],
    names: frozenset[str],
    indices: frozenset[int],
) -> None:
    text = HEAD + "".join(f"a={name}:{value}\r\n" for name, value in head)
    for line in lines:
        text += "m=audio 9 RTP/AVP 0\r\n" + "".join(f"a={name}:{value}\r\n" for name, value in line)
    session = parse(text)

    def meaning(description: SessionDescription, index: int, name: str) -> list[str | None]:
        media = description.media[index]
        entries = media.attributes if media.has(name) else description.attributes
        return [entry.value for entry in entries if entry.name == name]

    changed = remove_from_lines(session, names, indices)
    for index in range(len(lines)):
        for name in ("setup", "fingerprint", "ice-ufrag", "x"):
            expected = [] if index in indices and name in names else meaning(session, index, name)
            assert meaning(changed, index, name) == expected
