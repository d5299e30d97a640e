"""The sending and the receiving half of an association, made from what set-up agreed on."""

from __future__ import annotations

from dcsdk.sctp.base.config import SctpConfig
from dcsdk.sctp.base.events import Event, RawMessage
from dcsdk.sctp.control.lifecycle import Agreement
from dcsdk.sctp.control.reset import StreamResets
from dcsdk.sctp.receiving.receiver import Receiver
from dcsdk.sctp.sending.recovery import RoundTrip
from dcsdk.sctp.sending.sender import Sender
from dcsdk.sctp.wire.packet import Seal


def make_halves(
    config: SctpConfig,
    agreement: Agreement,
    seal: Seal,
    round_trip: RoundTrip,
    events: list[Event | RawMessage],
) -> tuple[Sender, Receiver, StreamResets]:
    """Return the parts that exist once an association is established.

    Args:
        config: of our side.
        agreement: of both.
        seal: for our packets.
        round_trip: the estimate all parts share.
        events: where all parts put what they have to tell.
    """
    sender = Sender(
        config=config,
        seal=seal,
        initial_tsn=agreement.local_initial_tsn,
        peer_window=agreement.peer_a_rwnd,
        stream_count=agreement.outbound_streams,
        abilities=agreement.abilities,
        events=events,
        round_trip=round_trip,
    )
    receiver = Receiver(
        initial_tsn=agreement.peer_initial_tsn,
        window=config.receive_window,
        max_message_size=config.accepted_message_size,
        stream_count=agreement.inbound_streams,
        is_interleaving=agreement.abilities.is_interleaving,
        events=events,
    )
    resets = StreamResets(
        packetizer=sender.packetizer,
        receiver=receiver,
        round_trip=round_trip,
        local_sequence=agreement.local_initial_tsn,
        peer_sequence=agreement.peer_initial_tsn,
        events=events,
    )
    return sender, receiver, resets
