"""The HSS: subscribers and their registrations, in SQLite.

Every call is one short statement or transaction on a local database, so it runs in the event loop;
a database that somebody else has locked is waited for ``BUSY_TIMEOUT_S`` and no longer.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dcsdk.errors import ConfigError, DcsdkError
from dcsdk.security import Secret

BUSY_TIMEOUT_S = 0.05
MAX_BINDINGS = 8
"""Contacts one public identity may have registered at once."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS subscribers (
    private_identity TEXT PRIMARY KEY,
    password TEXT NOT NULL,
    dc_allowed INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS identities (
    public_identity TEXT PRIMARY KEY,
    private_identity TEXT NOT NULL REFERENCES subscribers ON DELETE CASCADE,
    position INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS bindings (
    public_identity TEXT NOT NULL REFERENCES identities ON DELETE CASCADE,
    contact_key TEXT NOT NULL,
    contact TEXT NOT NULL,
    path TEXT NOT NULL,
    expires_at REAL NOT NULL,
    call_id TEXT NOT NULL,
    cseq INTEGER NOT NULL,
    PRIMARY KEY (public_identity, contact_key)
);
"""


class HssError(DcsdkError):
    """The subscriber database cannot answer: locked, full, damaged or gone. SIP says 500."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """One subscription.

    Attributes:
        private_identity: the IMPI, the user name of Digest.
        password: kept as it is, since Digest needs it; an emulator is no place for a real one.
        public_identities: the IMPUs, all registered together; the first is the default one.
        dc_allowed: data channels are in the subscription (TS 24.186 9.3.2.2.1).
    """

    private_identity: str
    password: Secret
    public_identities: tuple[str, ...]
    dc_allowed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One registered contact of a public identity.

    Attributes:
        public_identity: the IMPU.
        contact_key: what makes two contacts the same one: the URI without parameters.
        contact: the whole Contact element, feature tags included.
        path: the Path elements, topmost first (RFC 3327).
        expires_at: seconds on the caller's clock.
        call_id: of the REGISTER.
        cseq: of the REGISTER.
    """

    public_identity: str
    contact_key: str
    contact: str
    path: tuple[str, ...]
    expires_at: float
    call_id: str
    cseq: int


class Hss:
    """The subscriber database.

    Args:
        database: a file, or ``":memory:"``.

    Raises:
        ConfigError: the file cannot be opened, or is no database of ours.
    """

    def __init__(self, database: str | Path = ":memory:") -> None:
        self._database = str(database)
        try:
            if self._database != ":memory:":
                _make_private(Path(self._database))
            self._connection = sqlite3.connect(
                self._database, timeout=BUSY_TIMEOUT_S, isolation_level=None
            )
        except (OSError, sqlite3.Error) as exc:
            raise ConfigError(f"cannot open the subscriber database {database}: {exc}") from exc
        try:
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as exc:
            self._connection.close()
            raise ConfigError(f"{database} is no subscriber database: {exc}") from exc

    def close(self) -> None:
        """Close the database. Closing twice is no error; any call afterwards is an ``HssError``."""
        self._connection.close()

    # --- subscribers -----------------------------------------------------------------------------
    def add_subscriber(self, subscriber: Subscriber) -> None:
        """Add a subscription, or change one; its registrations stay.

        Raises:
            ConfigError: no public identity, or one that belongs to somebody else.
            HssError: the database cannot answer.
        """
        if not subscriber.public_identities:
            raise ConfigError(f"{subscriber.private_identity} has no public identity")
        with self._work() as connection:
            for identity in subscriber.public_identities:
                owner = connection.execute(
                    "SELECT private_identity FROM identities WHERE public_identity = ?", (identity,)
                ).fetchone()
                if owner is not None and owner[0] != subscriber.private_identity:
                    raise ConfigError(f"{identity} belongs to {owner[0]}")
            connection.execute(
                "INSERT INTO subscribers VALUES (?, ?, ?) ON CONFLICT (private_identity) DO UPDATE "
                "SET password = excluded.password, dc_allowed = excluded.dc_allowed",
                (
                    subscriber.private_identity,
                    subscriber.password.reveal(),
                    int(subscriber.dc_allowed),
                ),
            )
            _forget_other_identities(connection, subscriber)
            connection.executemany(
                "INSERT INTO identities VALUES (?, ?, ?) ON CONFLICT (public_identity) DO UPDATE "
                "SET position = excluded.position",
                [
                    (identity, subscriber.private_identity, position)
                    for position, identity in enumerate(subscriber.public_identities)
                ],
            )

    def subscriber(self, private_identity: str) -> Subscriber | None:
        """Find a subscription by its private identity.

        Raises:
            HssError: the database cannot answer.
        """
        with self._work() as connection:
            row = connection.execute(
                "SELECT password, dc_allowed FROM subscribers WHERE private_identity = ?",
                (private_identity,),
            ).fetchone()
            if row is None:
                return None
            identities = connection.execute(
                "SELECT public_identity FROM identities WHERE private_identity = ? "
                "ORDER BY position",
                (private_identity,),
            ).fetchall()
        return Subscriber(
            private_identity=private_identity,
            password=Secret(row[0]),
            public_identities=tuple(identity for (identity,) in identities),
            dc_allowed=bool(row[1]),
        )

    def owner_of(self, public_identity: str) -> Subscriber | None:
        """Find the subscription a public identity belongs to.

        Raises:
            HssError: the database cannot answer.
        """
        with self._work() as connection:
            row = connection.execute(
                "SELECT private_identity FROM identities WHERE public_identity = ?",
                (public_identity,),
            ).fetchone()
        return None if row is None else self.subscriber(row[0])

    # --- registrations ---------------------------------------------------------------------------
    def bindings(self, public_identity: str, *, now: float) -> tuple[Binding, ...]:
        """Return the contacts registered for a public identity, the newest last.

        Raises:
            HssError: the database cannot answer.
        """
        with self._work() as connection:
            rows = connection.execute(
                "SELECT public_identity, contact_key, contact, path, expires_at, call_id, cseq "
                "FROM bindings WHERE public_identity = ? AND expires_at > ? ORDER BY rowid",
                (public_identity, now),
            ).fetchall()
        return tuple(_binding(row) for row in rows)

    def save_binding(self, binding: Binding, *, identities: Sequence[str], now: float) -> None:
        """Register a contact for all identities of an implicit registration set.

        Expired contacts go; the oldest one goes when there would be more than ``MAX_BINDINGS``.

        Args:
            binding: the contact; its own ``public_identity`` is replaced by each of ``identities``.
            identities: the public identities.
            now: seconds, on the clock of ``expires_at``.

        Raises:
            HssError: the database cannot answer; nothing was changed.
        """
        with self._work() as connection:
            for identity in identities:
                connection.execute(
                    "DELETE FROM bindings WHERE public_identity = ? AND "
                    "(expires_at <= ? OR contact_key = ?)",
                    (identity, now, binding.contact_key),
                )
                connection.execute(
                    "INSERT INTO bindings VALUES (?, ?, ?, ?, ?, ?, ?)",
                    _row(replace(binding, public_identity=identity)),
                )
                connection.execute(
                    "DELETE FROM bindings WHERE public_identity = ? AND rowid NOT IN (SELECT rowid "
                    "FROM bindings WHERE public_identity = ? ORDER BY rowid DESC LIMIT ?)",
                    (identity, identity, MAX_BINDINGS),
                )

    def remove_bindings(self, identities: Iterable[str], contact_key: str | None = None) -> None:
        """Remove one contact, or all of them, from some public identities.

        Raises:
            HssError: the database cannot answer; nothing was changed.
        """
        with self._work() as connection:
            connection.executemany(
                "DELETE FROM bindings WHERE public_identity = ? AND (? IS NULL OR contact_key = ?)",
                [(identity, contact_key, contact_key) for identity in identities],
            )

    # --- inside ----------------------------------------------------------------------------------
    @contextmanager
    def _work(self) -> Iterator[sqlite3.Connection]:
        """Run statements as one transaction; a database error becomes an ``HssError``."""
        try:
            self._connection.execute("BEGIN")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # SQLite itself ends one when the disk is full
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as exc:
            raise HssError(f"the subscriber database cannot answer: {exc}") from exc


def _make_private(path: Path) -> None:
    """Create the file readable by its owner only, before SQLite would with the usual mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _forget_other_identities(connection: sqlite3.Connection, subscriber: Subscriber) -> None:
    known = connection.execute(
        "SELECT public_identity FROM identities WHERE private_identity = ?",
        (subscriber.private_identity,),
    ).fetchall()
    gone = [row for row in known if row[0] not in subscriber.public_identities]
    connection.executemany("DELETE FROM identities WHERE public_identity = ?", gone)


def _row(binding: Binding) -> tuple[str | int | float, ...]:
    return (
        binding.public_identity,
        binding.contact_key,
        binding.contact,
        json.dumps(binding.path),
        binding.expires_at,
        binding.call_id,
        binding.cseq,
    )


def _binding(row: Sequence[str | int | float]) -> Binding:
    identity, key, contact, path, expires_at, call_id, cseq = row
    return Binding(
        public_identity=str(identity),
        contact_key=str(key),
        contact=str(contact),
        path=tuple(json.loads(str(path))),
        expires_at=float(expires_at),
        call_id=str(call_id),
        cseq=int(cseq),
    )
