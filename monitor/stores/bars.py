"""The bar store: every closed bar we were given, the truth that everything else can be computed again from.

What a poll brings is *taken* in one transaction: bars, what changed, what is doubted and what is owed because of it.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

import polars as pl

from monitor.core.bars import BAR_SCHEMA
from monitor.ports import Instrument
from monitor.stores.database import DAY_US, Database, from_us, to_us
from monitor.stores.quality import Quarantine, Reevaluation, Revision

_COLUMNS = "symbol, ts, closed_at, open, high, low, close, volume"


@dataclass
class Taken:
    """What one poll of a timeframe brought.

    `bars` are added, or take the place of those with their labels; `histories` take the place of all that a symbol had.
    `origins` has the provider of each series that has bars now, `hours` the session of the day of markets whose
    calendar does not know it, `built` the label after which bars were built. A symbol in `released` leaves its
    quarantine.
    """

    timeframe: str
    now: datetime
    bars: list[pl.DataFrame] = field(default_factory=list)
    histories: dict[str, pl.DataFrame] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    instruments: dict[str, Instrument] = field(default_factory=dict)
    hours: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    revisions: list[Revision] = field(default_factory=list)
    reevaluations: dict[str, Reevaluation] = field(default_factory=dict)
    quarantines: dict[str, Quarantine] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)
    built: dict[str, datetime] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to store: a history that stays whence it is and as it was."""
        return not (
            any(not bars.is_empty() for bars in self.bars)
            or self.histories
            or self.instruments
            or self.hours
            or self.revisions
            or self.quarantines
            or self.released
        )


class BarStore:
    """Closed bars by timeframe and symbol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, taken: Taken) -> None:
        """Store all that a poll brought, or nothing of it; a hole that a bar came into is filled."""
        if taken.empty:
            return
        timeframe, now = taken.timeframe, to_us(taken.now)
        with self._database.transaction() as connection:
            for symbol in taken.histories:
                connection.execute("DELETE FROM bars WHERE timeframe = ? AND symbol = ?", (timeframe, symbol))
            for bars in (*taken.histories.values(), *taken.bars):
                _insert(connection, timeframe, bars)
            connection.executemany(
                "INSERT INTO series (timeframe, symbol, provider, since) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET provider = excluded.provider, since = excluded.since, built_after = NULL "
                "WHERE provider <> excluded.provider",
                [(timeframe, symbol, provider, now) for symbol, provider in taken.origins.items()],
            )
            connection.executemany(
                "UPDATE series SET built_after = ? WHERE timeframe = ? AND symbol = ? AND built_after IS NULL",
                [(to_us(label), timeframe, symbol) for symbol, label in taken.built.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO instruments VALUES (?, ?, ?, ?)",
                [(symbol, of.market, of.currency, of.kind) for symbol, of in taken.instruments.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO trading_hours VALUES (?, ?, ?, ?)",
                [
                    (market, to_us(closes) // DAY_US, to_us(opens), to_us(closes))
                    for market, (opens, closes) in taken.hours.items()
                ],
            )
            connection.executemany(
                "INSERT INTO bar_revisions (timeframe, symbol, ts, seen_at, kind, before, after, why) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        timeframe,
                        made.symbol,
                        to_us(made.ts),
                        now,
                        made.kind,
                        _json(made.before),
                        _json(made.after),
                        made.why,
                    )
                    for made in taken.revisions
                ],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO reevaluations VALUES (?, ?, ?, ?, ?)",
                [
                    (timeframe, symbol, to_us(owed.since), "compare" if owed.compare else "remake", owed.why)
                    for symbol, owed in taken.reevaluations.items()
                ],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO quarantines VALUES (?, ?, ?, ?, ?, ?, 0)",
                [
                    (timeframe, symbol, to_us(doubt.ts), to_us(doubt.found_at), doubt.ratio, doubt.why)
                    for symbol, doubt in taken.quarantines.items()
                ],
            )
            connection.executemany(
                "DELETE FROM quarantines WHERE timeframe = ? AND symbol = ?",
                [(timeframe, symbol) for symbol in taken.released],
            )
            connection.execute(
                "UPDATE holes SET state = 'filled' WHERE timeframe = ? AND state IN ('pending', 'skipped') "
                "AND EXISTS (SELECT 1 FROM bars b WHERE b.timeframe = holes.timeframe AND b.symbol = holes.symbol "
                "AND b.ts = holes.ts)",
                (timeframe,),
            )

    def since(self, timeframe: str, labels: Mapping[str, datetime]) -> pl.DataFrame:
        """Each symbol's bars labelled at or after its label. Shape: BAR_SCHEMA, sorted by symbol and ts."""
        sql = f"SELECT {_COLUMNS} FROM bars WHERE timeframe = ? AND symbol = ? AND ts >= ? ORDER BY ts"
        found = [self._database.rows(sql, (timeframe, symbol, to_us(labels[symbol]))) for symbol in sorted(labels)]
        return _frame(list(chain.from_iterable(found)))

    def newest(self, timeframe: str, symbols: list[str], count: int | None) -> pl.DataFrame:
        """The newest `count` bars of each symbol (None: all of them)."""
        return self.window(timeframe, dict.fromkeys(symbols), dict.fromkeys(symbols, count))

    def window(
        self, timeframe: str, cursors: Mapping[str, datetime | None], before: Mapping[str, int | None]
    ) -> pl.DataFrame:
        """Each symbol's bars after its cursor, and so many bars up to it (None: all of them).

        Without a cursor: its newest bars. Shape: BAR_SCHEMA, sorted by symbol and ts.
        """
        found = []
        for symbol in sorted(cursors):
            cursor = cursors[symbol]
            upto = to_us(cursor) if cursor else 2**62
            older = (
                f"SELECT {_COLUMNS} FROM bars WHERE timeframe = ? AND symbol = ? AND ts <= ? ORDER BY ts DESC LIMIT ?"
            )
            found += reversed(
                self._database.rows(older, (timeframe, symbol, upto, -1 if before[symbol] is None else before[symbol]))
            )
            if cursor:
                newer = f"SELECT {_COLUMNS} FROM bars WHERE timeframe = ? AND symbol = ? AND ts > ? ORDER BY ts"
                found += self._database.rows(newer, (timeframe, symbol, upto))
        return _frame(found)

    def origin(self, timeframe: str, symbol: str) -> str | None:
        """The provider that a series is from."""
        sql = "SELECT provider FROM series WHERE timeframe = ? AND symbol = ?"
        found = self._database.rows(sql, (timeframe, symbol))
        return found[0][0] if found else None

    def began(self, timeframe: str, symbol: str) -> datetime | None:
        """Since when a series has been had from the provider that it is from."""
        sql = "SELECT since FROM series WHERE timeframe = ? AND symbol = ?"
        found = self._database.rows(sql, (timeframe, symbol))
        return from_us(found[0][0]) if found else None

    def built_after(self, timeframe: str, symbol: str) -> datetime | None:
        """The last bar of a series that its provider gave, where those after it are built from smaller ones."""
        sql = "SELECT built_after FROM series WHERE timeframe = ? AND symbol = ? AND built_after IS NOT NULL"
        found = self._database.rows(sql, (timeframe, symbol))
        return from_us(found[0][0]) if found else None

    def oldest_label(self, timeframe: str, symbol: str) -> datetime | None:
        """The oldest label of a symbol that has bars."""
        ts = self._database.rows("SELECT min(ts) FROM bars WHERE timeframe = ? AND symbol = ?", (timeframe, symbol))[0][
            0
        ]
        return None if ts is None else from_us(ts)

    def newest_labels(
        self, timeframe: str, symbols: list[str], before: Mapping[str, datetime] | None = None
    ) -> dict[str, datetime]:
        """The newest label of each symbol that has bars, or its newest one before a label."""
        limits = before or {}
        sql = "SELECT max(ts) FROM bars WHERE timeframe = ? AND symbol = ? AND ts < ?"
        found = {}
        for symbol in symbols:
            limit = to_us(limits[symbol]) if symbol in limits else 2**62
            found[symbol] = self._database.rows(sql, (timeframe, symbol, limit))[0][0]
        return {symbol: from_us(ts) for symbol, ts in found.items() if ts is not None}

    def newest_closes(self, timeframe: str, symbols: list[str]) -> dict[str, tuple[datetime, datetime]]:
        """Label and `closed_at` of the newest bar of each symbol that has bars."""
        sql = "SELECT ts, closed_at FROM bars WHERE timeframe = ? AND symbol = ? ORDER BY ts DESC LIMIT 1"
        found = {symbol: self._database.rows(sql, (timeframe, symbol)) for symbol in symbols}
        return {symbol: (from_us(rows[0][0]), from_us(rows[0][1])) for symbol, rows in found.items() if rows}

    def between(self, timeframe: str, symbol: str, after: datetime, upto: datetime) -> int:
        """How many bars are labelled after one label and not after another."""
        sql = "SELECT count(*) FROM bars WHERE timeframe = ? AND symbol = ? AND ts > ? AND ts <= ?"
        count: int = self._database.rows(sql, (timeframe, symbol, to_us(after), to_us(upto)))[0][0]
        return count


def _json(values: Mapping[str, float | None] | None) -> str | None:
    return None if values is None else json.dumps(dict(values))


def _insert(connection: sqlite3.Connection, timeframe: str, bars: pl.DataFrame) -> None:
    connection.executemany(
        f"INSERT OR REPLACE INTO bars (timeframe, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        bars.select(pl.lit(timeframe).alias("timeframe"), pl.col(*BAR_SCHEMA).to_physical()).iter_rows(),
    )


def _frame(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    flat = list(chain.from_iterable(rows))
    width = len(BAR_SCHEMA)
    columns = {name: flat[place::width] for place, name in enumerate(BAR_SCHEMA)}
    return pl.DataFrame(columns, BAR_SCHEMA)
