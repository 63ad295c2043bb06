"""Quality: what is known about stored bars beyond their prices.

A *hole* is a bar that the calendar expects and that has not come though a later one has: it is `pending` until it comes
(`filled`) or is given up (`skipped`). A *quarantine* keeps bars of a symbol out that cannot be believed yet. A
*re-evaluation* is owed where stored bars have changed behind the cursor. The *origin* of a series is the provider that
all of it came from.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import polars as pl

from monitor.core.bars import INSTANT, PRICES
from monitor.ports import Instrument
from monitor.stores.database import Database, from_us, to_us

HOLES = pl.Schema({"symbol": pl.String(), "ts": INSTANT, "closed_at": INSTANT, "state": pl.String()})
_AMONG = "symbol IN (SELECT value FROM json_each(?))"


class HoleState(StrEnum):
    """What has become of a hole."""

    PENDING = "pending"
    FILLED = "filled"
    SKIPPED = "skipped"


class RevisionKind(StrEnum):
    """How stored bars changed."""

    CORRECTED = "corrected"
    FILLED = "filled"
    LEFT_OUT = "left_out"
    MINOR = "minor"
    RESCALED = "rescaled"
    SWITCHED = "switched"


@dataclass(frozen=True)
class Revision:
    """One change of a stored bar: its prices and volume before and after, None where there was no bar."""

    symbol: str
    ts: datetime
    kind: RevisionKind
    why: str
    before: Mapping[str, float | None] | None = None
    after: Mapping[str, float | None] | None = None


@dataclass(frozen=True)
class Quarantine:
    """Why the bars of a symbol from `ts` on are not believed, or that a person has said they are to be `believed`."""

    ts: datetime
    found_at: datetime
    ratio: float
    why: str
    believed: bool = False


@dataclass(frozen=True)
class Reevaluation:
    """What is owed: the bars from `since` on evaluated again; `compare` says whether events may vanish or appear."""

    since: datetime
    compare: bool
    why: str


def values(bar: Mapping[str, Any]) -> dict[str, float | None]:
    """The prices and the volume of a bar, as revisions keep them."""
    return {name: bar[name] for name in (*PRICES, "volume")}


class Quality:
    """Holes, quarantines, revisions, origins and instruments, of one bars database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def holes(self, timeframe: str, symbols: Collection[str], since: datetime | None = None) -> pl.DataFrame:
        """The recorded holes of these symbols labelled at or after `since`, sorted. Shape: HOLES."""
        rows = self._database.rows(
            f"SELECT symbol, ts, closed_at, state FROM holes WHERE timeframe = ? AND {_AMONG} AND ts >= ? "
            "ORDER BY symbol, ts",
            (timeframe, json.dumps(sorted(symbols)), to_us(since) if since else -(2**62)),
        )
        return pl.DataFrame(rows, HOLES, orient="row")

    def record_holes(self, timeframe: str, holes: pl.DataFrame) -> None:
        """Add holes, or move them on. Shape: HOLES."""
        if holes.is_empty():
            return
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO holes (timeframe, symbol, ts, closed_at, state) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET state = excluded.state",
                (
                    (timeframe, *row)
                    for row in holes.select("symbol", pl.col("ts", "closed_at").to_physical(), "state").iter_rows()
                ),
            )

    def quarantines(self, timeframe: str, symbols: Collection[str]) -> dict[str, Quarantine]:
        """The quarantine of each of these symbols that is in one."""
        rows = self._database.rows(
            f"SELECT symbol, ts, found_at, ratio, why, believed FROM quarantines WHERE timeframe = ? AND {_AMONG}",
            (timeframe, json.dumps(sorted(symbols))),
        )
        return {
            symbol: Quarantine(from_us(ts), from_us(found), ratio, why, bool(believed))
            for symbol, ts, found, ratio, why, believed in rows
        }

    def believe(self, timeframe: str, symbol: str) -> bool:
        """Note that a person says what is in quarantine is true; whether there was something."""
        with self._database.transaction() as connection:
            return bool(
                connection.execute(
                    "UPDATE quarantines SET believed = 1 WHERE timeframe = ? AND symbol = ?", (timeframe, symbol)
                ).rowcount
            )

    def origins(self, timeframe: str, symbols: Collection[str]) -> dict[str, str]:
        """The provider of each of these series that has bars."""
        rows = self._database.rows(
            f"SELECT symbol, provider FROM series WHERE timeframe = ? AND {_AMONG}",
            (timeframe, json.dumps(sorted(symbols))),
        )
        return dict(rows)

    def origin_since(self, timeframe: str, symbol: str) -> tuple[str, datetime] | None:
        """The provider of a series that has bars, and since when it is that."""
        sql = "SELECT provider, since FROM series WHERE timeframe = ? AND symbol = ?"
        rows = self._database.rows(sql, (timeframe, symbol))
        return (rows[0][0], from_us(rows[0][1])) if rows else None

    def instruments(self) -> dict[str, Instrument]:
        """What providers said that each symbol is."""
        rows = self._database.rows("SELECT symbol, market, currency, kind FROM instruments")
        return {symbol: Instrument(market, currency, kind) for symbol, market, currency, kind in rows}

    def observed_hours(self, market: str) -> dict[date, tuple[datetime, datetime]]:
        """The sessions of a market, by date, that a provider told and its calendar does not know."""
        rows = self._database.rows("SELECT open, close FROM trading_hours WHERE market = ?", (market,))
        return {from_us(closes).date(): (from_us(opens), from_us(closes)) for opens, closes in rows}

    def reevaluations(self, timeframe: str, symbols: Collection[str]) -> dict[str, Reevaluation]:
        """What is owed to these symbols."""
        rows = self._database.rows(
            f"SELECT symbol, since, kind, why FROM reevaluations WHERE timeframe = ? AND {_AMONG}",
            (timeframe, json.dumps(sorted(symbols))),
        )
        return {symbol: Reevaluation(from_us(since), kind == "compare", why) for symbol, since, kind, why in rows}

    def settle(self, timeframe: str, symbols: Iterable[str]) -> None:
        """Note that these symbols' re-evaluations have been made and committed."""
        with self._database.transaction() as connection:
            connection.executemany(
                "DELETE FROM reevaluations WHERE timeframe = ? AND symbol = ?",
                [(timeframe, symbol) for symbol in symbols],
            )

    def rescaled_upto(self, timeframe: str, symbol: str) -> datetime | None:
        """The newest bar that was evaluated on another scale, or from another origin, than the series has now."""
        sql = (
            "SELECT max(ts) FROM bar_revisions WHERE timeframe = ? AND symbol = ? AND kind IN ('rescaled', 'switched')"
        )
        newest = self._database.rows(sql, (timeframe, symbol))[0][0]
        return from_us(newest) if newest is not None else None

    def left_out(self, timeframe: str, symbol: str) -> set[datetime]:
        """The bars that were given and could not be true."""
        sql = "SELECT ts FROM bar_revisions WHERE timeframe = ? AND symbol = ? AND kind = 'left_out'"
        return {from_us(ts) for (ts,) in self._database.rows(sql, (timeframe, symbol))}

    def revisions(self, timeframe: str, symbol: str, limit: int) -> list[dict[str, Any]]:
        """The newest changes of a series, newest first."""
        records = self._database.records(
            "SELECT ts, seen_at, kind, before, after, why FROM bar_revisions WHERE timeframe = ? AND symbol = ? "
            "ORDER BY id DESC LIMIT ?",
            (timeframe, symbol, limit),
        )
        return [
            record
            | {name: from_us(record[name]) for name in ("ts", "seen_at")}
            | {name: json.loads(record[name]) for name in ("before", "after") if record[name]}
            for record in records
        ]

    def missing(self) -> list[dict[str, Any]]:
        """Each symbol that the newest cycle could not bring up to date, since when, and why."""
        records = self._database.records("SELECT timeframe, symbol, since, why FROM missing ORDER BY symbol, timeframe")
        return [record | {"since": from_us(record["since"])} for record in records]

    def note_missing(self, timeframe: str, asked: Collection[str], missing: Mapping[str, str], now: datetime) -> None:
        """Keep why each symbol that was asked for is missing, and since when; forget those that are not."""
        chosen = json.dumps(sorted(asked))
        known = self._database.rows(
            f"SELECT symbol, why FROM missing WHERE timeframe = ? AND {_AMONG}", (timeframe, chosen)
        )
        if dict(known) == dict(missing):
            return
        with self._database.transaction() as connection:
            connection.execute(
                f"DELETE FROM missing WHERE timeframe = ? AND {_AMONG} "
                "AND symbol NOT IN (SELECT value FROM json_each(?))",
                (timeframe, chosen, json.dumps(sorted(missing))),
            )
            connection.executemany(
                "INSERT INTO missing (timeframe, symbol, since, why) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET why = excluded.why",
                [(timeframe, symbol, to_us(now), why) for symbol, why in missing.items()],
            )
