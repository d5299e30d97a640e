"""Every fault has a name that is known, and the SDP faults do what they say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dcsdk.emulator.lab.faults import FAULTS, UNKNOWN_STREAM_ID, check_faults, spoil
from dcsdk.errors import ConfigError
from dcsdk.sdp.media import MediaDescription
from tests.emulator.sdp import USER_FINGERPRINT, audio, description, line

Shows = Callable[[MediaDescription], bool]

ANSWER_FAULTS: dict[str, Shows] = {
    "E6": lambda media: media.fingerprints()[0] != USER_FINGERPRINT,
    "E7-fingerprint": lambda media: not media.has("fingerprint"),
    "E7-setup": lambda media: not media.has("setup"),
    "E7-tls-id": lambda media: not media.has("tls-id"),
    "E12": lambda media: media.get("setup") == "actpass",
    "E14": lambda media: media.get("sctp-port") == "0",
    "unsupported-hash": lambda media: media.fingerprints()[0].hash_function == "md5",
    "D3": lambda media: media.get_all("dcmap")[0] in media.get_all("dcmap")[1:],
    "D6": lambda media: UNKNOWN_STREAM_ID in [item.stream_id for item in media.dcmaps],
    "D11": lambda media: media.is_rejected,
}
OFFER_FAULTS: dict[str, Shows] = {
    "E6-offer": ANSWER_FAULTS["E6"],
    "E7-fingerprint-offer": ANSWER_FAULTS["E7-fingerprint"],
    "E7-setup-offer": ANSWER_FAULTS["E7-setup"],
    "E7-tls-id-offer": ANSWER_FAULTS["E7-tls-id"],
    "unsupported-hash-offer": ANSWER_FAULTS["unsupported-hash"],
    "D2-offer": lambda media: 5 in [item.stream_id for item in media.dcmaps],
    "D3-offer": ANSWER_FAULTS["D3"],
    "D4-offer": lambda media: media.dcmaps[0].subprotocol == "msrp",
    "D5-offer": lambda media: media.dcmaps[0].has_conflict,
}
INDICATION_FAULTS: dict[str, Shows] = {
    "E9": lambda media: media.get("3ge2dce") == "applied",
    "E10": lambda media: media.get("3ge2dce") == "sometimes",
}


@pytest.mark.parametrize("name", [*ANSWER_FAULTS, *INDICATION_FAULTS])
def test_a_fault_of_answers_changes_data_channel_lines_of_answers(name: str) -> None:
    holds = {**ANSWER_FAULTS, **INDICATION_FAULTS}[name]
    before = description(audio(), line(0, 1000, setup="active"), line(10).rejected())
    after = spoil(before, frozenset({name}), is_offer=False)
    assert holds(after.media[1]) and not holds(before.media[1])
    assert (after.media[0], after.media[2]) == (before.media[0], before.media[2])
    if name in ANSWER_FAULTS:
        assert spoil(before, frozenset({name}), is_offer=True) == before


@pytest.mark.parametrize("name", [*OFFER_FAULTS, *INDICATION_FAULTS])
def test_a_fault_of_offers_changes_data_channel_lines_of_offers(name: str) -> None:
    holds = {**OFFER_FAULTS, **INDICATION_FAULTS}[name]
    before = description(audio(), line(0, 1000))
    after = spoil(before, frozenset({name}), is_offer=True)
    assert holds(after.media[1]) and not holds(before.media[1])
    if name in OFFER_FAULTS:
        assert spoil(before, frozenset({name}), is_offer=False) == before


@pytest.mark.parametrize("name", ["E6", "D3"])
def test_a_line_that_has_nothing_to_spoil_stays(name: str) -> None:
    before = description(line(0).without("fingerprint", "dcmap"))
    assert spoil(before, frozenset({name}), is_offer=False) == before


def test_other_faults_change_no_sdp() -> None:
    before = description(line(0))
    for name in FAULTS.keys() - {*ANSWER_FAULTS, *OFFER_FAULTS, *INDICATION_FAULTS}:
        for is_offer in (True, False):
            assert spoil(before, frozenset({name}), is_offer=is_offer) == before


def test_an_unknown_fault_is_refused_with_a_hint() -> None:
    assert check_faults(["E6", "E6"]) == {"E6"}
    with pytest.raises(ConfigError, match="did you mean 'E7-setup'"):
        check_faults(["E7setup"])


def test_every_fault_is_known_to_a_test() -> None:
    tested_elsewhere = {
        *("E1", "E2", "E3", "E4", "E15", "E19", "401-loop", "403", "423", "494", "488"),
        *("D10", "D12", "silence", "silence-invite", "silence-reinvite"),
        *("mrm-503", "dcmf-vanishes"),
    }
    tested_here = {*ANSWER_FAULTS, *OFFER_FAULTS, *INDICATION_FAULTS}
    assert tested_here | tested_elsewhere == FAULTS.keys()
