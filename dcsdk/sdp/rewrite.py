"""Changed descriptions that keep everything else: for a session's lines and for relayed ones.

Some attributes may stand at session level and hold for every line that has none of its own. Whoever
takes such an attribute away from one line takes it away at both levels, and the other lines keep
what they inherited: :func:`remove_from_lines`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from dcsdk.sdp.attributes import Attribute
from dcsdk.sdp.lines import Line
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription

INHERITED_ATTRIBUTES = ("setup", "connection", "fingerprint", "key-mgmt", "ice-ufrag", "ice-pwd")
"""What a line that has none takes from the session level, as far as transport and keys go: RFC 4145
4 and 5, RFC 8122 5, RFC 4567 3, RFC 8839 5.4."""


def rewrite(
    media: MediaDescription,
    *,
    proto: str | None = None,
    remove: Iterable[str] = (),
    add: Iterable[Attribute | tuple[str, str | None]] = (),
) -> MediaDescription:
    """Return a copy of one media description with other attributes; what is not named stays.

    Args:
        media: the media description.
        proto: of the new ``m=`` line; ``None`` leaves it.
        remove: names of attributes to remove. What stands at session level is not touched; see
            :func:`remove_from_lines`.
        add: attributes written at the end, after the removal.
    """
    changed = media.without(*remove).with_attributes(add)
    return changed if proto is None else replace(changed, proto=proto)


def rewrite_session(
    session: SessionDescription,
    *,
    remove: Iterable[str] = (),
    add: Iterable[Attribute | tuple[str, str | None]] = (),
) -> SessionDescription:
    """Return a copy with other session-level attributes; no media description changes.

    Args:
        session: the description.
        remove: names of session-level attributes to remove.
        add: attributes written after the others of the session, after the removal.
    """
    names = frozenset(remove)
    kept = (
        line
        for line in session.lines
        if line.type != "a" or line.value.partition(":")[0] not in names
    )
    added = (entry if isinstance(entry, Attribute) else Attribute(*entry) for entry in add)
    return replace(session, lines=(*kept, *(Line("a", str(entry)) for entry in added)))


def with_session_defaults(media: MediaDescription, session: SessionDescription) -> MediaDescription:
    """Return a copy that stands alone: with the ``c=`` line and ``INHERITED_ATTRIBUTES`` of the
    session, where it has none of its own.

    Args:
        media: the media description.
        session: the description around.

    Source: RFC 8866 5.7 and 5.13.
    """
    inherited = [
        entry
        for entry in session.attributes
        if entry.name in INHERITED_ATTRIBUTES and not media.has(entry.name)
    ]
    alone = media.with_attributes(inherited)
    if media.connection is not None or session.connection is None:
        return alone
    return alone.with_connection(session.connection)


def remove_from_lines(
    session: SessionDescription, names: Collection[str], indices: Collection[int]
) -> SessionDescription:
    """Remove attributes from some lines, whether they stand there or are inherited.

    An attribute at session level is removed as well; every other line that inherited it gets it
    at its end, so that those lines mean what they meant before.

    Args:
        session: the description.
        names: of attributes that a line inherits from the session, such as ``"fingerprint"``.
        indices: of the media descriptions that lose them, 0-based. When there are none, nothing
            is changed.

    Source: RFC 8866 5.13, RFC 8122 5, RFC 4145 4.
    """
    if not indices:
        return session
    inherited = [entry for entry in session.attributes if entry.name in names]
    media = tuple(
        line.without(*names)
        if index in indices
        else line.with_attributes(entry for entry in inherited if not line.has(entry.name))
        for index, line in enumerate(session.media)
    )
    return replace(rewrite_session(session, remove=names), media=media)
