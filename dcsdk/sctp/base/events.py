"""What an association tells its owner through ``poll_event()``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class AssociationState(Enum):
    """The states of RFC 9260 4."""

    CLOSED = "closed"
    COOKIE_WAIT = "cookie-wait"
    COOKIE_ECHOED = "cookie-echoed"
    ESTABLISHED = "established"
    SHUTDOWN_PENDING = "shutdown-pending"
    SHUTDOWN_SENT = "shutdown-sent"
    SHUTDOWN_RECEIVED = "shutdown-received"
    SHUTDOWN_ACK_SENT = "shutdown-ack-sent"


RawMessage = tuple[int, int, bytes, bool]
"""The fields of a :class:`MessageReceived`, bare: what ``poll_batch()`` gives for a message."""


class MessageReceived(NamedTuple):
    """One whole user message.

    Attributes:
        stream_id: 0..65535.
        ppid: payload protocol identifier in host order (RFC 8831 8).
        data: never empty on the wire (PPIDs 56 and 57 carry one zero octet).
        is_unordered: sent without order.
    """

    stream_id: int
    ppid: int
    data: bytes
    is_unordered: bool


@dataclass(frozen=True, slots=True)
class Established:
    """The association is up; data may flow on ``streams`` streams each way.

    Attributes:
        outbound_streams: usable outgoing ids are below this.
        inbound_streams: usable incoming ids are below this.
        is_interleaving: user data travels as I-DATA (RFC 8260).
        is_partial_reliability: messages may be abandoned (RFC 3758).
        is_reset_supported: streams may be reset (RFC 6525).
    """

    outbound_streams: int
    inbound_streams: int
    is_interleaving: bool
    is_partial_reliability: bool
    is_reset_supported: bool


@dataclass(frozen=True, slots=True)
class Restarted:
    """The peer began anew (RFC 9260 5.2.4.1): all streams are fresh, unsent data is gone."""


@dataclass(frozen=True, slots=True)
class StreamsReset:
    """The peer reset its outgoing streams; nothing more comes on them (RFC 6525 5.2.2).

    Attributes:
        stream_ids: ``()`` means every stream.
    """

    stream_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ResetDone:
    """The peer answered our ``reset_streams``.

    Attributes:
        stream_ids: outgoing streams; free for reuse when ``is_performed``.
        is_performed: ``False`` when the peer refused.
    """

    stream_ids: tuple[int, ...]
    is_performed: bool


@dataclass(frozen=True, slots=True)
class MessageAbandoned:
    """A message with limited reliability was given up before the peer had all of it."""

    stream_id: int
    is_sent_in_part: bool


@dataclass(frozen=True, slots=True)
class MessageRefused:
    """The peer sent more than our max-message-size; its stream is being reset.

    Attributes:
        stream_id: everything that still comes on it is thrown away.
        size_bytes: how much of the message had come.
    """

    stream_id: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PeerError:
    """The peer reported an ERROR chunk; the association goes on.

    Attributes:
        code: cause code of RFC 9260 3.3.10.
        info: the cause's content.
    """

    code: int
    info: bytes


@dataclass(frozen=True, slots=True)
class ShutDown:
    """The association ended in order: everything accepted was delivered (RFC 9260 9.2)."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """The association ended at once (RFC 9260 9.1).

    Attributes:
        code: cause code, 0 when none came.
        reason: readable text.
        is_local: we sent the ABORT.
    """

    code: int
    reason: str
    is_local: bool


@dataclass(frozen=True, slots=True)
class PeerUnreachableEvent:
    """The peer stopped answering; the association is over (RFC 9260 8.1)."""

    reason: str


AssociationEvent = (
    MessageReceived
    | Established
    | Restarted
    | StreamsReset
    | ResetDone
    | MessageAbandoned
    | MessageRefused
    | PeerError
    | ShutDown
    | Aborted
    | PeerUnreachableEvent
)
