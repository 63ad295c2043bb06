"""The ledger: holds what a store says against what came to its receivers, and names every fault.

A *receipt* is one message as it came on one channel. *Lost*: said to be sent, and never came. A *copy* is a receipt of
an id that had come before; an attempt whose outcome is unknown excuses one. A *mark* is a difference to the store of a
run that was never killed.
"""

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLES = {"bars": ["bars"], "state": ["cursors", "trend_states", "check_states", "events", "deliveries"]}
_OF_THE_RUN = {"committed_at", "created_at", "updated_at", "not_before", "attempts", "config_digest"}

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Receipt:
    """One message as it came."""

    channel: str
    id: str
    payload: bytes


@dataclass(frozen=True)
class Account:
    """What came of one store: its totals, and what is wrong."""

    totals: Counter[str]
    faults: list[str]


def read(path: Path, *queries: str) -> list[Rows]:
    """The rows of each query over one database."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [[dict(row) for row in connection.execute(query)] for query in queries]


def remembered(stores: Path) -> dict[str, list[str]]:
    """All that a store keeps and that no kill may change: its schema and its rows, without the times of the run."""
    kept = {}
    for name, tables in TABLES.items():
        version, schema, *contents = read(
            stores / f"{name}.db",
            "PRAGMA user_version",
            "SELECT sql FROM sqlite_master ORDER BY name",
            *(f"SELECT * FROM {table}" for table in tables),
        )
        kept[f"schema of {name}"] = list(map(repr, [version, *schema]))
        for table, rows in zip(tables, contents, strict=True):
            kept[table] = sorted(_kept(row) for row in rows)
    return kept


def _kept(row: dict[str, Any]) -> str:
    """A row without what belongs to the run; the last digits of a running sum depend on where its window began."""
    kept = {name: value for name, value in row.items() if name not in _OF_THE_RUN}
    if "evidence" in kept:
        kept["evidence"] = json.loads(kept["evidence"], parse_float=lambda text: f"{float(text):.9g}")
    return repr(kept)


def damage(stores: Path) -> list[str]:
    """What SQLite finds wrong with the files."""
    found = []
    for path in stores.glob("*.db"):
        sound, orphans = read(path, "PRAGMA integrity_check", "PRAGMA foreign_key_check")
        if orphans or [row["integrity_check"] for row in sound] != ["ok"]:
            found.append(f"{path.name} is damaged: {sound} {orphans}")
    return found


def uncommitted(stores: Path, receipts: Iterable[Receipt]) -> list[str]:
    """What came although no attempt to send it stands in the store."""
    path = stores / "state.db"
    there = path.exists() and read(path, "SELECT 1 FROM sqlite_master WHERE name = 'attempts'")[0]
    known = {row["batch_id"] for row in read(path, "SELECT batch_id FROM attempts")[0]} if there else set()
    return [f"{r.channel} {r.id} came without a committed event" for r in receipts if r.id not in known]


def account(stores: Path, receipts: Sequence[Receipt], expected: Mapping[str, list[str]]) -> Account:
    """The account of a store that has nothing left to send."""
    deliveries, attempts, batches = read(
        stores / "state.db",
        "SELECT * FROM deliveries ORDER BY closed_at",
        "SELECT * FROM attempts",
        "SELECT * FROM batches",
    )
    came = Counter((receipt.channel, receipt.id) for receipt in receipts)
    unknown = Counter(row["batch_id"] for row in attempts if row["outcome"] == "unknown")
    sent = [row for row in deliveries if row["state"] == "sent"]
    undelivered = [row for row in deliveries if row["state"] not in ("sent", "suppressed")]
    lost = [row for row in sent if not came[row["channel"], row["batch_id"]]]
    bytes_of = {row["id"]: row["payload"] for row in batches}
    faults = [
        *(f"lost: {row['channel']} {row['batch_id']}" for row in lost),
        *(f"undelivered: {row['channel']} {row['key']} is {row['state']}" for row in undelivered),
        *(
            f"{count} copies of {key} after {unknown[key[1]]} unknown outcomes"
            for key, count in came.items()
            if count > 1 + unknown[key[1]]
        ),
        *(f"left open: attempt {row['number']} of {row['batch_id']}" for row in attempts if row["outcome"] is None),
        *(f"other bytes: {r.channel} {r.id}" for r in receipts if bytes_of.get(r.id) != r.payload),
        *uncommitted(stores, receipts),
        *_out_of_order(sent, receipts),
        *_marks(expected, remembered(stores)),
        *damage(stores),
    ]
    totals = Counter(
        {
            "events": len({row["event_key"] for row in deliveries}),
            "told": len(sent),
            "held": len(deliveries) - len(sent) - len(undelivered),
            "received": len(receipts),
            "copies": len(receipts) - len(came),
            "unknown outcomes": unknown.total(),
            "lost": len(lost) + len(undelivered),
        }
    )
    return Account(totals, faults)


def _out_of_order(sent: Rows, receipts: Sequence[Receipt]) -> list[str]:
    """What came after something newer of the same check and symbol on the same channel."""
    rows = {row["batch_id"]: row for row in sent}
    newest: dict[tuple[str, str, str], int] = {}
    found = []
    for receipt in receipts:
        if row := rows.get(receipt.id):
            line = (row["channel"], row["check_digest"], row["symbol"])
            if row["closed_at"] < newest.setdefault(line, row["closed_at"]):
                found.append(f"out of order: {receipt.channel} {receipt.id}")
            newest[line] = row["closed_at"]
    return found


def _marks(expected: Mapping[str, list[str]], found: Mapping[str, list[str]]) -> list[str]:
    marks = {name: sorted(set(rows) ^ set(found[name])) for name, rows in expected.items() if rows != found[name]}
    return [f"mark in {name}: {len(rows)} rows, {rows[:2]}" for name, rows in marks.items()]
