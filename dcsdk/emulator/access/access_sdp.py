"""The P-CSCF's rules for e2DCe indications in SDP, and the SDP faults.

The indications are not standardised; they follow ``a=3ge2ae`` (TS 24.229 7.5.2) with e2DCe put in
its place. ``requested`` is between UE and P-CSCF and never travels through the core. ``applied``
comes from our own IMS AS, which marks the lines its DCMF ends and strips everybody else's marks;
here it is taken away from UEs that did not register for it.

Source: TS 33.328 7.2.X, 7.3.X.
"""

from __future__ import annotations

from dataclasses import dataclass

from dcsdk.emulator.access.bindings import AccessBinding
from dcsdk.emulator.lab.faults import spoil
from dcsdk.errors import ParseError, RemoteProtocolError
from dcsdk.ims.profile import ImsProfile
from dcsdk.sdp.session import CONTENT_TYPE, SessionDescription
from dcsdk.sip.syntax.message import Message, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSdp:
    """Changes session descriptions between UE and core.

    Attributes:
        is_e2dce_supported: the network knows the e2DCe tokens.
        profile: names of the tokens.
        faults: the faults that are on.
    """

    is_e2dce_supported: bool
    profile: ImsProfile
    faults: frozenset[str]

    def from_ue(self, message: Message, binding: AccessBinding) -> None:
        """Change the body of a message that a UE sent.

        A response whose body cannot be read goes on as it is; whoever asked will refuse it.

        Raises:
            RemoteProtocolError: a request asks for e2DCe without registration (488), or its body
                cannot be read (400).
        """
        is_request = isinstance(message, Request)
        description = _description(message)
        if description is None:
            return
        attribute = self.profile.e2dce_attribute
        is_agreed = self.profile.e2dce_mechanism in binding.agreed
        for index, media in enumerate(description.media):
            if "E2" in self.faults and media.is_data_channel and not media.is_rejected:
                media = media.replacing(attribute, "requested")
            if not self.is_e2dce_supported or not media.has(attribute):
                continue
            is_requested = self.profile.e2dce_indication(media) == "requested"
            if is_request and is_requested and not is_agreed:
                raise RemoteProtocolError(
                    "e2DCe is requested without registration",
                    source="TS 33.328 7.2.X NOTE 2",
                    sip_status_hint=488,
                )
            description = description.replace_media(index, media.without(attribute))
        _set_description(message, description)

    def to_ue(self, message: Message, binding: AccessBinding, *, is_offer: bool) -> None:
        """Change the body of a message that a UE will get.

        Raises:
            RemoteProtocolError: the body of a request cannot be read.
        """
        description = _description(message)
        if description is None:
            return
        attribute = self.profile.e2dce_attribute
        is_agreed = self.profile.e2dce_mechanism in binding.agreed
        for index, media in enumerate(description.media):
            if media.has(attribute) and self.is_e2dce_supported and not is_agreed:
                description = description.replace_media(index, media.without(attribute))
        _set_description(message, spoil(description, self.faults, is_offer=is_offer))


def _description(message: Message) -> SessionDescription | None:
    if not message.body or message.content_type != CONTENT_TYPE:
        return None
    try:
        return SessionDescription.parse(message.body)
    except ParseError as exc:
        if not isinstance(message, Request):
            return None
        raise RemoteProtocolError(f"SDP: {exc}", sip_status_hint=400) from exc


def _set_description(message: Message, description: SessionDescription) -> None:
    message.body = description.encode()
