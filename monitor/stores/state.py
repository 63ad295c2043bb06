"""The state store: what the pipeline remembers between cycles, and the one transaction that moves it on."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from monitor.core.evaluate import CHECK_STATES, CURSORS, TRENDS, Memory
from monitor.core.events import Event, EventKind, delivery_key
from monitor.core.policy import Decision, Reason, Severity
from monitor.stores.database import Database, from_us, to_us
from monitor.stores.outbox import read_event


@dataclass(frozen=True)
class Commit:
    """All that one cycle decided, to be stored together or not at all.

    `decided` has each event with the name of its check, the instant its bar was due, and a decision for each channel;
    `origins` the provider of each symbol's bars.
    """

    timeframe: str
    method: str
    memory: Memory
    decided: list[tuple[Event, str, datetime, list[Decision]]]
    origins: Mapping[str, str]
    config_digest: str
    now: datetime


class StateStore:
    """Cursors, machines, events and the decisions about them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def memory(self, timeframe: str, method: str, symbols: Collection[str]) -> Memory:
        """What is remembered of these symbols at a timeframe, under one method."""
        chosen = json.dumps(sorted(symbols))
        among = "symbol IN (SELECT value FROM json_each(?))"
        cursors = self._database.rows(
            f"SELECT symbol, cursor FROM cursors WHERE timeframe = ? AND {among}", (timeframe, chosen)
        )
        trends = self._database.rows(
            f"SELECT symbol, state, kind, run FROM trend_states WHERE timeframe = ? AND method = ? AND {among}",
            (timeframe, method, chosen),
        )
        checks = self._database.rows(
            "SELECT check_digest, symbol, armed_from, state, kind, run FROM check_states "
            f"WHERE timeframe = ? AND {among}",
            (timeframe, chosen),
        )
        return Memory(
            pl.DataFrame(cursors, CURSORS, orient="row"),
            pl.DataFrame(trends, TRENDS, orient="row"),
            pl.DataFrame(checks, CHECK_STATES, orient="row"),
        )

    def cursors(self, timeframe: str, symbols: Collection[str]) -> dict[str, datetime]:
        """The newest processed bar of each of these symbols that has one."""
        rows = self._database.rows(
            "SELECT symbol, cursor FROM cursors WHERE timeframe = ? AND symbol IN (SELECT value FROM json_each(?))",
            (timeframe, json.dumps(sorted(symbols))),
        )
        return {symbol: from_us(cursor) for symbol, cursor in rows}

    def told(self, event: Event, channel: str) -> tuple[datetime, datetime] | None:
        """The label and the close of the newest earlier bar for which a channel was told of that check and symbol.

        What never arrived was not told, and what was withdrawn does not count; early warnings and the rest of the
        trend rule do not hold each other.
        """
        sql = (
            "SELECT ts, closed_at FROM deliveries "
            "WHERE check_digest = ? AND symbol = ? AND timeframe = ? AND channel = ? AND (kind = ?) = ? "
            "AND state NOT IN ('suppressed', 'dead') AND closed_at < ? "
            "AND NOT EXISTS (SELECT 1 FROM events e, events w WHERE e.key = deliveries.event_key "
            "AND w.symbol = e.symbol AND w.timeframe = e.timeframe AND w.ts = e.ts "
            "AND w.check_digest = e.check_digest AND w.revision = e.revision AND w.kind = 'withdrawn') "
            "ORDER BY closed_at DESC LIMIT 1"
        )
        early = EventKind.EARLY_WARNING
        key = (
            event.check_digest,
            event.symbol,
            event.timeframe,
            channel,
            early,
            event.kind is early,
            to_us(event.closed_at),
        )
        found = self._database.rows(sql, key)
        return (from_us(found[0][0]), from_us(found[0][1])) if found else None

    def events(self, timeframe: str, symbol: str, since: datetime) -> list[Event]:
        """The stored events of a symbol's bars from a label on, in order of keys."""
        sql = "SELECT * FROM events WHERE symbol = ? AND timeframe = ? AND ts >= ? ORDER BY key"
        return [read_event(record) for record in self._database.records(sql, (symbol, timeframe, to_us(since)))]

    def told_of(self, event_key: str) -> list[Decision]:
        """The decisions by which an event was told."""
        records = self._database.records(
            "SELECT channel, reason, detail, severity, check_name, watchlists FROM deliveries "
            "WHERE event_key = ? AND state NOT IN ('suppressed', 'dead') ORDER BY channel",
            (event_key,),
        )
        return [
            Decision(
                channel=record["channel"],
                reason=Reason(record["reason"]),
                detail=record["detail"],
                severity=Severity(record["severity"]),
                check=record["check_name"],
                watchlists=tuple(json.loads(record["watchlists"])),
            )
            for record in records
        ]

    def commit(self, commit: Commit) -> None:
        """Memory, events and outbox rows in one transaction; what is there already under its key stays as it is."""
        now = to_us(commit.now)
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO cursors (timeframe, symbol, cursor) VALUES (?, ?, ?)",
                _rows(commit.memory.cursors, commit.timeframe),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO trend_states "
                "(timeframe, method, symbol, state, kind, run) VALUES (?, ?, ?, ?, ?, ?)",
                _rows(commit.memory.trends, commit.timeframe, commit.method),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO check_states "
                "(timeframe, check_digest, symbol, armed_from, state, kind, run) VALUES (?, ?, ?, ?, ?, ?, ?)",
                _rows(commit.memory.checks, commit.timeframe),
            )
            connection.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                _event_rows(commit, now),
            )
            connection.executemany(
                "INSERT INTO deliveries (key, event_key, channel, check_digest, check_name, symbol, timeframe, ts, "
                "closed_at, kind, watchlists, severity, state, reason, detail, not_before, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                _delivery_rows(commit, now),
            )

    def keep(self, method: str, watched: Iterable[tuple[str, str, str]]) -> None:
        """Forget the machines of other methods and of each (timeframe, check, symbol) not watched: they start fresh."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM trend_states WHERE method <> ?", (method,))
            connection.execute(
                "DELETE FROM check_states WHERE (timeframe, check_digest, symbol) NOT IN "
                "(SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
                (json.dumps(sorted(watched)),),
            )


def _rows(frame: pl.DataFrame, timeframe: str, *more: str) -> Iterable[tuple[object, ...]]:
    ahead = [pl.lit(text).alias(f"_{place}") for place, text in enumerate((timeframe, *more))]
    return frame.select(*ahead, pl.all().to_physical()).iter_rows()


def _event_rows(commit: Commit, now: int) -> Iterable[tuple[object, ...]]:
    for event, check_name, due_at, _ in commit.decided:
        yield (
            event.key, event.check_digest, check_name, event.symbol, event.timeframe, to_us(event.ts),
            to_us(event.closed_at), to_us(due_at), event.kind, event.revision, json.dumps(dict(event.bar)),
            json.dumps(dict(event.evidence)), commit.origins.get(event.symbol, ""), commit.config_digest, now,
        )  # fmt: skip


def _delivery_rows(commit: Commit, now: int) -> Iterable[tuple[object, ...]]:
    for event, _, _, decisions in commit.decided:
        for decision in decisions:
            yield (
                delivery_key(event.key, decision.channel), event.key, decision.channel, event.check_digest,
                decision.check, event.symbol, event.timeframe, to_us(event.ts), to_us(event.closed_at), event.kind,
                json.dumps(decision.watchlists),
                decision.severity, "pending" if decision.tell else "suppressed", decision.reason, decision.detail,
                now, now, now,
            )  # fmt: skip
