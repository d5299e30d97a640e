"""Faults that the emulated network can be told to make, each by a name.

A name that starts with a letter and a number is the row of an error catalogue it brings about.
Unless said otherwise the P-CSCF makes them, toward the UE.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from dcsdk.errors import ConfigError
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.sdp.ims_attributes import E2DCE_ATTRIBUTE
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription

FAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # --- registration ---
        "E1": "no Security-Server in any answer to REGISTER: the network has no mediasec",
        "E3": "the list in the 401 is outdated: its echo gets 494 once, with the list in force",
        "E4": "somebody on the way shortens Security-Server; the honest echo gets 494 each time",
        "E15": "no Feature-Caps in the 200 to REGISTER: no g.3gpp.datachannel",
        "401-loop": "S-CSCF: every REGISTER is challenged again, whatever its credentials",
        "403": "S-CSCF: every REGISTER is answered 403",
        "423": "S-CSCF: every REGISTER is answered 423 with Min-Expires 1",
        "494": "every REGISTER is answered 494 with the same Security-Server",
        "E19": "a REGISTER is answered 420 Unsupported: mediasec",
        "silence": "no request of a UE is answered (an INVITE still gets its 100)",
        # --- calls ---
        "488": "every initial INVITE of a UE is answered 488",
        "D10": "the first re-INVITE of each UE is answered 491",
        "D12": "every re-INVITE of a UE is answered 488",
        "silence-invite": "no INVITE of a UE is answered beyond its 100",
        "silence-reinvite": "no re-INVITE of a UE is answered beyond its 100",
        # --- SDP answers to the UE, every data channel line ---
        "E6": "answers carry the fingerprint of another certificate",
        "E7-fingerprint": "answers have no a=fingerprint",
        "E7-setup": "answers have no a=setup",
        "E7-tls-id": "answers have no a=tls-id",
        "E12": "answers say a=setup:actpass",
        "E14": "answers say a=sctp-port:0",
        "unsupported-hash": "answers carry an md5 fingerprint and no other",
        "D3": "answers name the first stream id twice",
        "D6": "answers name a stream id that was not offered",
        "D11": "answers refuse every data channel line with port 0",
        # --- SDP offers to the UE, every data channel line ---
        "E6-offer": "offers carry the fingerprint of another certificate",
        "E7-fingerprint-offer": "offers have no a=fingerprint",
        "E7-setup-offer": "offers have no a=setup",
        "E7-tls-id-offer": "offers have no a=tls-id",
        "unsupported-hash-offer": "offers carry an md5 fingerprint and no other",
        "D2-offer": "offers also name the reserved stream id 5",
        "D3-offer": "offers name the first stream id twice",
        "D4-offer": "offers have another subprotocol than http on stream ids below 1000",
        "D5-offer": "offers have max-retr and max-time on each channel",
        # --- indications, offers and answers to the UE ---
        "E2": "a=3ge2dce:requested is put on each data channel line that the UE sends",
        "E9": "a=3ge2dce:applied is put on each data channel line that the UE gets",
        "E10": "a=3ge2dce:sometimes is put on each data channel line that the UE gets",
        # --- beyond SIP ---
        "mrm-503": "the IMS AS gets no media function: each Nmf_MRM_Create fails with 503",
        "dcmf-vanishes": "the DCMF falls silent as soon as Network.vanish_dcmf() is called",
    }
)
"""Every fault and what it does."""

UNKNOWN_STREAM_ID = 65_000
"""The stream id that nobody offered (D6)."""

MD5_FINGERPRINT = "md5 " + ":".join(["5A"] * 16)

MediaChange = Callable[[MediaDescription], MediaDescription]


def check_faults(names: Iterable[str]) -> frozenset[str]:
    """Return the names as a set.

    Raises:
        ConfigError: a name that no fault has.
    """
    faults = frozenset(names)
    for name in sorted(faults - FAULTS.keys()):
        near = difflib.get_close_matches(name, FAULTS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f" (faults: {', '.join(FAULTS)})"
        raise ConfigError(f"unknown fault {name!r}{hint}")
    return faults


def _wrong_fingerprint(media: MediaDescription) -> MediaDescription:
    value = media.get("fingerprint")
    if value is None:
        return media
    first = "00" if not value.upper().rpartition(" ")[2].startswith("00") else "FF"
    name, _, digest = value.rpartition(" ")
    return media.replacing("fingerprint", f"{name} {first}{digest[2:]}")


def _first_id_twice(media: MediaDescription) -> MediaDescription:
    ids = media.get_all("dcmap")
    return media.with_attribute("dcmap", ids[0]) if ids else media


def _other_subprotocol(media: MediaDescription) -> MediaDescription:
    changed = [
        str(
            Dcmap(stream_id=item.stream_id, subprotocol="msrp" if item.stream_id < 1000 else "http")
        )
        for item in media.dcmaps
    ]
    return media.without("dcmap").with_attributes(("dcmap", text) for text in changed)


def _both_limits(media: MediaDescription) -> MediaDescription:
    changed = [
        str(
            Dcmap(stream_id=item.stream_id, subprotocol=item.subprotocol, max_retr=1, max_time_ms=1)
        )
        for item in media.dcmaps
    ]
    return media.without("dcmap").with_attributes(("dcmap", text) for text in changed)


def _indicated(value: str) -> MediaChange:
    return lambda media: media.replacing(E2DCE_ATTRIBUTE, value)


_COMMON: dict[str, MediaChange] = {
    "E6": _wrong_fingerprint,
    "E7-fingerprint": lambda media: media.without("fingerprint"),
    "E7-setup": lambda media: media.without("setup"),
    "E7-tls-id": lambda media: media.without("tls-id"),
    "unsupported-hash": lambda media: media.replacing("fingerprint", MD5_FINGERPRINT),
    "D3": _first_id_twice,
}
_INDICATIONS: dict[str, MediaChange] = {
    "E9": _indicated("applied"),
    "E10": _indicated("sometimes"),
}
_ANSWER_CHANGES: dict[str, MediaChange] = {
    **_COMMON,
    **_INDICATIONS,
    "E12": lambda media: media.replacing("setup", "actpass"),
    "E14": lambda media: media.replacing("sctp-port", "0"),
    "D6": lambda media: media.with_attribute("dcmap", f'{UNKNOWN_STREAM_ID} subprotocol="http"'),
    "D11": lambda media: media.rejected(),
}
_OFFER_CHANGES: dict[str, MediaChange] = {
    **{f"{name}-offer": change for name, change in _COMMON.items()},
    **_INDICATIONS,
    "D2-offer": lambda media: media.with_attribute("dcmap", '5 subprotocol="http"'),
    "D4-offer": _other_subprotocol,
    "D5-offer": _both_limits,
}


def spoil(
    description: SessionDescription, faults: frozenset[str], *, is_offer: bool
) -> SessionDescription:
    """Apply the SDP faults to the data channel lines of a description that a UE is about to get.

    Args:
        description: as the network would send it.
        faults: the faults that are on; those of other kinds do nothing here.
        is_offer: the description is an offer.
    """
    changes = _OFFER_CHANGES if is_offer else _ANSWER_CHANGES
    for name in sorted(faults & changes.keys()):
        for index, media in enumerate(description.media):
            if media.is_data_channel and not media.is_rejected:
                description = description.replace_media(index, changes[name](media))
    return description
