"""Messages sent before the association is established: kept, then sent in order."""

from __future__ import annotations

from dataclasses import dataclass

from dcsdk.errors import LocalProtocolError
from dcsdk.sctp.base.config import SctpConfig
from dcsdk.sctp.base.events import AssociationEvent, MessageAbandoned, RawMessage
from dcsdk.sctp.sending.sender import Sender, check_message


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyMessage:
    """The arguments of one ``send()``."""

    stream_id: int
    ppid: int
    data: bytes
    is_ordered: bool
    max_retr: int | None
    max_time_ms: float | None
    priority: int
    queued_s: float


class EarlyMessages:
    """A bounded queue.

    Args:
        config: its ``send_buffer`` is the bound.

    Attributes:
        total_bytes: of data in the queue.
    """

    __slots__ = ("_config", "_messages", "total_bytes")

    def __init__(self, config: SctpConfig) -> None:
        self._config = config
        self._messages: list[EarlyMessage] = []
        self.total_bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: EarlyMessage) -> None:
        """Queue a message.

        Raises:
            MessageTooLarge: larger than the peer accepts.
            SendBufferFull: too much waits already.
            LocalProtocolError: it is empty.
        """
        check_message(self._config, message.data, self.total_bytes)
        self._messages.append(message)
        self.total_bytes += len(message.data)

    def send_all(self, sender: Sender, events: list[AssociationEvent | RawMessage]) -> None:
        """Hand everything to the sender; what the peer has no stream for is abandoned."""
        for message in self.take_all():
            try:
                sender.send(
                    message.stream_id,
                    message.ppid,
                    message.data,
                    message.is_ordered,
                    message.max_retr,
                    message.max_time_ms,
                    message.priority,
                    message.queued_s,
                )
            except LocalProtocolError:
                events.append(MessageAbandoned(message.stream_id, False))

    def queued_bytes(self, stream_id: int) -> int:
        """Return the bytes that wait for one stream."""
        return sum(len(item.data) for item in self._messages if item.stream_id == stream_id)

    def discard(self, stream_id: int) -> None:
        """Forget what waits for one stream."""
        self._messages = [item for item in self._messages if item.stream_id != stream_id]
        self.total_bytes = sum(len(item.data) for item in self._messages)

    def take_all(self) -> list[EarlyMessage]:
        """Return everything and be empty."""
        messages, self._messages, self.total_bytes = self._messages, [], 0
        return messages
