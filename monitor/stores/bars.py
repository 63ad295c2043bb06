"""The bar store: every closed bar we were given, the truth that everything else can be computed again from."""

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from itertools import chain

import polars as pl

from monitor.core.bars import BAR_SCHEMA
from monitor.stores.database import Database, from_us, to_us

_COLUMNS = "symbol, ts, closed_at, open, high, low, close, volume"


class BarStore:
    """Closed bars by timeframe and symbol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, timeframe: str, bars: pl.DataFrame) -> None:
        """Add bars; a bar that is there already takes the new values.

        Shape: BAR_SCHEMA.
        """
        with self._database.transaction() as connection:
            _insert(connection, timeframe, bars)

    def replace(self, timeframe: str, symbol: str, bars: pl.DataFrame) -> None:
        """Put a new history in the place of a symbol's old one.

        Shape: BAR_SCHEMA, of that symbol alone.
        """
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM bars WHERE timeframe = ? AND symbol = ?", (timeframe, symbol))
            _insert(connection, timeframe, bars)

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

    def newest_labels(self, timeframe: str, symbols: list[str]) -> dict[str, datetime]:
        """The newest label of each symbol that has bars."""
        sql = "SELECT max(ts) FROM bars WHERE timeframe = ? AND symbol = ?"
        newest = {symbol: self._database.rows(sql, (timeframe, symbol))[0][0] for symbol in symbols}
        return {symbol: from_us(ts) for symbol, ts in newest.items() if ts is not None}

    def between(self, timeframe: str, symbol: str, after: datetime, upto: datetime) -> int:
        """How many bars are labelled after one label and not after another."""
        sql = "SELECT count(*) FROM bars WHERE timeframe = ? AND symbol = ? AND ts > ? AND ts <= ?"
        count: int = self._database.rows(sql, (timeframe, symbol, to_us(after), to_us(upto)))[0][0]
        return count


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
