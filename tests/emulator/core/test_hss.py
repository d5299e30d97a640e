"""The subscriber database."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcsdk.emulator.core.hss import MAX_BINDINGS, Binding, Hss, HssError, Subscriber
from dcsdk.errors import ConfigError
from dcsdk.security import Secret

ALICE = Subscriber(
    private_identity="alice@ims.example",
    password=Secret("wonderland"),
    public_identities=("sip:alice@ims.example", "tel:+49301234567"),
)
BOB = Subscriber(
    private_identity="bob@ims.example",
    password=Secret("builder"),
    public_identities=("sip:bob@ims.example",),
    dc_allowed=False,
)


def binding(number: int = 1, *, expires_at: float = 100.0) -> Binding:
    return Binding(
        public_identity="sip:alice@ims.example",
        contact_key=f"sip:alice@127.0.0.1:{number}",
        contact=f"<sip:alice@127.0.0.1:{number};transport=tls>",
        path=("<sip:token@127.0.0.1:5060;lr>",),
        expires_at=expires_at,
        call_id="c1",
        cseq=number,
    )


@pytest.fixture
def hss() -> Iterator[Hss]:
    database = Hss()
    database.add_subscriber(ALICE)
    database.add_subscriber(BOB)
    yield database
    database.close()


def test_a_subscriber_is_found_by_private_and_by_public_identity(hss: Hss) -> None:
    assert hss.subscriber("alice@ims.example") == ALICE
    assert hss.owner_of("tel:+49301234567") == ALICE
    assert hss.owner_of("sip:bob@ims.example") == BOB
    assert hss.subscriber("carol@ims.example") is None
    assert hss.owner_of("sip:carol@ims.example") is None


def test_changing_a_subscriber_keeps_the_registration(hss: Hss) -> None:
    hss.save_binding(binding(), identities=ALICE.public_identities, now=0)
    changed = Subscriber(
        private_identity="alice@ims.example",
        password=Secret("mirror"),
        public_identities=("sip:alice@ims.example",),
        dc_allowed=False,
    )
    hss.add_subscriber(changed)
    assert hss.subscriber("alice@ims.example") == changed
    assert hss.bindings("sip:alice@ims.example", now=1) == (binding(),)
    assert hss.bindings("tel:+49301234567", now=1) == ()


def test_a_public_identity_has_one_owner(hss: Hss) -> None:
    thief = Subscriber(
        private_identity="mallory@ims.example",
        password=Secret("x"),
        public_identities=("sip:alice@ims.example",),
    )
    with pytest.raises(ConfigError, match="belongs to alice"):
        hss.add_subscriber(thief)
    assert hss.subscriber("mallory@ims.example") is None


def test_a_subscriber_needs_a_public_identity(hss: Hss) -> None:
    with pytest.raises(ConfigError, match="no public identity"):
        hss.add_subscriber(
            Subscriber(private_identity="x@ims.example", password=Secret(""), public_identities=())
        )


def test_a_contact_is_registered_for_every_identity_of_the_set(hss: Hss) -> None:
    hss.save_binding(binding(), identities=ALICE.public_identities, now=0)
    (found,) = hss.bindings("tel:+49301234567", now=1)
    assert found.public_identity == "tel:+49301234567"
    assert (found.contact, found.path) == (binding().contact, binding().path)


def test_registering_a_contact_again_replaces_it_and_makes_it_the_newest(hss: Hss) -> None:
    identities = ALICE.public_identities
    for number in (1, 2, 1):
        hss.save_binding(binding(number), identities=identities, now=0)
    found = hss.bindings("sip:alice@ims.example", now=1)
    assert [item.cseq for item in found] == [2, 1]


def test_an_expired_contact_is_gone(hss: Hss) -> None:
    hss.save_binding(binding(expires_at=10), identities=ALICE.public_identities, now=0)
    assert hss.bindings("sip:alice@ims.example", now=10) == ()


def test_the_number_of_contacts_is_bounded(hss: Hss) -> None:
    for number in range(MAX_BINDINGS + 3):
        hss.save_binding(binding(number), identities=ALICE.public_identities, now=0)
    found = hss.bindings("sip:alice@ims.example", now=1)
    assert [item.cseq for item in found] == list(range(3, MAX_BINDINGS + 3))


def test_one_contact_or_all_of_them_are_removed(hss: Hss) -> None:
    identities = ALICE.public_identities
    for number in (1, 2, 3):
        hss.save_binding(binding(number), identities=identities, now=0)
    hss.remove_bindings(identities, binding(2).contact_key)
    assert [item.cseq for item in hss.bindings(identities[1], now=1)] == [1, 3]
    hss.remove_bindings(identities)
    assert hss.bindings(identities[0], now=1) == ()


def test_a_file_survives_the_process_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "hss.db"
    first = Hss(path)
    first.add_subscriber(ALICE)
    first.close()
    first.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = Hss(path)
    assert second.subscriber("alice@ims.example") == ALICE
    second.close()


def test_a_locked_database_is_a_typed_error_soon_and_works_again_later(tmp_path: Path) -> None:
    path = tmp_path / "hss.db"
    hss = Hss(path)
    hss.add_subscriber(ALICE)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(HssError, match="locked"):
        hss.save_binding(binding(), identities=ALICE.public_identities, now=0)
    with pytest.raises(HssError):
        hss.subscriber("alice@ims.example")
    other.close()
    assert hss.subscriber("alice@ims.example") == ALICE
    hss.close()


def test_a_full_disk_is_a_typed_error_and_changes_nothing(tmp_path: Path) -> None:
    hss = Hss(tmp_path / "hss.db")
    hss.add_subscriber(ALICE)
    (pages,) = hss._connection.execute("PRAGMA page_count").fetchone()
    hss._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(HssError, match="full"):
        for number in range(1000):
            hss.add_subscriber(
                Subscriber(
                    private_identity=f"u{number}",
                    password=Secret("x" * 500),
                    public_identities=(f"sip:u{number}@ims.example",),
                )
            )
    assert hss.subscriber("alice@ims.example") == ALICE
    hss.close()


def test_a_closed_database_is_a_typed_error() -> None:
    hss = Hss()
    hss.close()
    with pytest.raises(HssError):
        hss.subscriber("alice@ims.example")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hss.db"
    path.write_bytes(b"not a database, but long enough to look at" * 50)
    with pytest.raises(ConfigError, match="no subscriber database"):
        Hss(path)


def test_a_place_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot open"):
        Hss(tmp_path / "missing" / "hss.db")


def test_a_password_is_in_no_repr(hss: Hss) -> None:
    assert "wonderland" not in repr(hss.subscriber("alice@ims.example"))
