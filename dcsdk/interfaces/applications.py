"""Readers of application lists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class AppEntry:
    """One mini-app of an application list.

    Attributes:
        app_id: what ``a=3gpp-req-app`` names.
        name: for people.
        url: request target on the bootstrap channel that fetches it.
        icon_url: or ``None``.
        etag: of the stored package, or ``None``.
        phase: ``"PRECALL"``, ``"INCALL"`` or ``None``.
        needs_peer_dc: works only when the peer has data channels too.
        qos_hint: text of ``a=3gpp-qos-hint``, or ``None``.

    Source: not standardised in Rel-18; the fields are those seen in the field.
    """

    app_id: str
    name: str
    url: str
    icon_url: str | None = None
    etag: str | None = None
    phase: str | None = None
    needs_peer_dc: bool = False
    qos_hint: str | None = None


class ListProvider(ABC):
    """Reads one flavour of application list (not standardised, TS 23.228 AC.7.1)."""

    name: ClassVar[str]

    @abstractmethod
    def list_target(self) -> str:
        """The request target that gives the list, ``"/"`` by TS 23.228 AC.7.1."""

    @abstractmethod
    def parse(self, status: int, content_type: str, body: bytes) -> list[AppEntry]:
        """Read an application list.

        Raises:
            ParseError: not a list of this flavour.
        """
