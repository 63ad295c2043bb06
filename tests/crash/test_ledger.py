"""The ledger names each kind of fault: books that are in order are altered, one thing at a time."""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.crash import ledger
from tests.crash.harness import Laboratory
from tests.crash.ledger import Account, Receipt

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a forked child of a loaded process is safe on Linux")


@dataclass(frozen=True)
class Books:
    """What a run that nobody killed left behind."""

    stores: Path
    receipts: list[Receipt]
    remembered: dict[str, list[str]]

    def account(self, receipts: list[Receipt]) -> Account:
        return ledger.account(self.stores, receipts, self.remembered)


@pytest.fixture(scope="module")
def books(laboratory: Laboratory) -> Iterator[Books]:
    with laboratory.world() as world:
        world.once()
        receipts, _ = world.receipts()
        yield Books(world.folder / "state", receipts, laboratory.unharmed().remembered)


def test_books_in_order_have_no_fault(books: Books) -> None:
    account = books.account(books.receipts)
    totals = account.totals
    assert account.faults == []
    assert totals["lost"] == totals["copies"] == 0
    assert totals["received"] == totals["told"] > 0
    assert totals["held"] > 0


@pytest.mark.parametrize(
    ("alter", "fault"),
    [
        (lambda came: came[1:], "lost: "),
        (lambda came: [came[0], *came], "2 copies of "),
        (lambda came: [replace(came[0], payload=b"{}"), *came[1:]], "other bytes: "),
        (lambda came: [*came, Receipt("hook", "20100101T0000-x", b"{}")], "came without a committed event"),
        (lambda came: came[::-1], "out of order: "),
    ],
    ids=["lost", "copied", "altered", "invented", "out of order"],
)
def test_a_receipt_that_is_wrong_is_a_fault(
    books: Books, alter: Callable[[list[Receipt]], list[Receipt]], fault: str
) -> None:
    assert any(fault in found for found in books.account(alter(books.receipts)).faults)


@pytest.mark.parametrize(
    ("alter", "fault"),
    [
        ("UPDATE deliveries SET state = 'pending' WHERE state = 'sent'", "undelivered: "),
        ("UPDATE attempts SET outcome = NULL", "left open: "),
        ("UPDATE check_states SET run = run + 1", "mark in check_states: "),
        ("DELETE FROM cursors", "mark in cursors: "),
        ("DROP INDEX deliveries_by_event", "mark in schema of state: "),
        ("PRAGMA foreign_keys = OFF; DELETE FROM events", "state.db is damaged: "),
    ],
)
def test_a_store_that_is_wrong_is_a_fault(books: Books, tmp_path: Path, alter: str, fault: str) -> None:
    for name in ("bars", "state"):
        with closing(sqlite3.connect(books.stores / f"{name}.db")) as store:
            store.execute("VACUUM INTO ?", (str(tmp_path / f"{name}.db"),))
    with closing(sqlite3.connect(tmp_path / "state.db")) as copy:
        copy.executescript(alter)
    account = replace(books, stores=tmp_path).account(books.receipts)
    assert any(found.startswith(fault) for found in account.faults)
