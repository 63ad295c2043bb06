"""The outbox: each delivery's way from its decision to its receiver, one conditional update at a time.

    pending → inflight → sent
    inflight → pending (transient or unknown; not before a time) | dead (permanent or exhausted)
    suppressed: decided not to tell; never moves

A *batch* is the sealed bytes of a message and the id under which a receiver knows it. An *attempt* is one try of a
batch; its row is committed before the first byte leaves.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from monitor.core.events import Event, EventKind, batch_id
from monitor.stores.database import Database, from_us, to_us


class DeliveryState(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    INFLIGHT = "inflight"
    SENT = "sent"
    DEAD = "dead"
    SUPPRESSED = "suppressed"


class Outcome(StrEnum):
    """How an attempt ended."""

    SENT = "sent"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Due:
    """A delivery that may be sent now, with the event it tells.

    `attempts` counts those made; `payload` is there once it has been sealed.
    """

    key: str
    batch: str
    channel: str
    event: Event
    check: str
    watchlists: tuple[str, ...]
    severity: str
    due_at: datetime
    provider: str
    config_digest: str
    created_at: datetime
    attempts: int
    payload: bytes | None


_FIRST_OF_ITS_SERIES = """
    d.channel = :channel AND d.state = 'pending' AND NOT EXISTS (
        SELECT 1 FROM deliveries f
        WHERE f.check_digest = d.check_digest AND f.symbol = d.symbol AND f.timeframe = d.timeframe
          AND f.channel = d.channel AND f.state IN ('pending', 'inflight')
          AND (f.closed_at, f.created_at) < (d.closed_at, d.created_at)
    )
"""
_NEXT = f"""
    SELECT d.key AS delivery_key, d.channel, d.check_name, d.watchlists, d.severity, d.created_at, d.attempts,
      b.payload, e.*
    FROM deliveries d JOIN events e ON e.key = d.event_key LEFT JOIN batches b ON b.id = d.batch_id
    WHERE d.not_before <= :now AND {_FIRST_OF_ITS_SERIES}
    ORDER BY d.key LIMIT 1
"""


class Outbox:
    """The deliveries of one store, as the dispatcher moves them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sweep(self, channel: str, now: datetime) -> int:
        """Take up what is in flight on a channel while nobody sends: its outcome is unknown, it is sent again."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE attempts SET outcome = ?, ended_at = ?, detail = 'the process ended during the send' "
                "WHERE outcome IS NULL AND batch_id IN "
                "(SELECT batch_id FROM deliveries WHERE channel = ? AND state = 'inflight')",
                (Outcome.UNKNOWN, to_us(now), channel),
            )
            return connection.execute(
                "UPDATE deliveries SET state = 'pending', detail = 'the process ended during the send', "
                "not_before = ?, updated_at = ? WHERE channel = ? AND state = 'inflight'",
                (to_us(now), to_us(now), channel),
            ).rowcount

    def give_up(self, channels: Collection[str], before: datetime, now: datetime) -> int:
        """End what was decided before an instant for a channel that is not among these any more."""
        with self._database.transaction() as connection:
            return connection.execute(
                "UPDATE deliveries SET state = 'dead', detail = 'given up: the channel is not configured any more', "
                "updated_at = ? WHERE state IN ('pending', 'inflight') AND created_at < ? "
                "AND channel NOT IN (SELECT value FROM json_each(?))",
                (to_us(now), to_us(before), json.dumps(sorted(channels))),
            ).rowcount

    def next_due(self, channel: str, now: datetime) -> Due | None:
        """The oldest delivery of a channel that may be sent now; events of one check and symbol stay in order."""
        found = self._database.records(_NEXT, {"channel": channel, "now": to_us(now)})
        return _due(found[0]) if found else None

    def next_time(self, channel: str) -> datetime | None:
        """When the next delivery of a channel that waits for no other may be sent."""
        sql = f"SELECT min(d.not_before) FROM deliveries d WHERE {_FIRST_OF_ITS_SERIES}"
        earliest = self._database.rows(sql, {"channel": channel})[0][0]
        return None if earliest is None else from_us(earliest)

    def waiting(self) -> dict[str, int]:
        """How many deliveries each channel still has to send."""
        sql = "SELECT channel, count(*) FROM deliveries WHERE state IN ('pending', 'inflight') GROUP BY channel"
        return dict(self._database.rows(sql))

    def claim(self, due: Due, payload: bytes, now: datetime) -> bool:
        """Seal the payload, open an attempt, and take the delivery in flight; False when another was faster."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO batches (id, channel, payload, sha256, sealed_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                (due.batch, due.channel, payload, hashlib.sha256(payload).hexdigest(), to_us(now)),
            )
            claimed = connection.execute(
                "UPDATE deliveries SET state = 'inflight', attempts = attempts + 1, batch_id = ?, updated_at = ? "
                "WHERE key = ? AND state = 'pending' AND attempts = ?",
                (due.batch, to_us(now), due.key, due.attempts),
            )
            if claimed.rowcount == 0:
                return False
            connection.execute(
                "INSERT INTO attempts (batch_id, number, started_at) VALUES (?, ?, ?)",
                (due.batch, due.attempts + 1, to_us(now)),
            )
        return True

    def record(
        self, due: Due, outcome: Outcome, detail: str, now: datetime, not_before: datetime | None = None
    ) -> bool:
        """Close the attempt and move the delivery on: back to pending where `not_before` names the next try."""
        after = DeliveryState.PENDING if not_before else DeliveryState.SENT
        if outcome is not Outcome.SENT and not_before is None:
            after = DeliveryState.DEAD
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE attempts SET outcome = ?, detail = ?, ended_at = ? WHERE batch_id = ? AND number = ?",
                (outcome, detail, to_us(now), due.batch, due.attempts + 1),
            )
            moved = connection.execute(
                "UPDATE deliveries SET state = ?, detail = ?, not_before = ?, updated_at = ? "
                "WHERE key = ? AND state = 'inflight' AND attempts = ?",
                (after, detail, to_us(not_before or now), to_us(now), due.key, due.attempts + 1),
            )
        return moved.rowcount == 1


def _due(record: Mapping[str, Any]) -> Due:
    return Due(
        key=record["delivery_key"],
        batch=batch_id(record["channel"], "", [record["key"]]),
        channel=record["channel"],
        event=read_event(record),
        check=record["check_name"],
        watchlists=tuple(json.loads(record["watchlists"])),
        severity=record["severity"],
        due_at=from_us(record["due_at"]),
        provider=record["provider"],
        config_digest=record["config_digest"],
        created_at=from_us(record["created_at"]),
        attempts=record["attempts"],
        payload=record["payload"],
    )


def read_event(record: Mapping[str, Any]) -> Event:
    """The event of a row of `events`."""
    return Event(
        check_digest=record["check_digest"],
        symbol=record["symbol"],
        timeframe=record["timeframe"],
        ts=from_us(record["ts"]),
        closed_at=from_us(record["closed_at"]),
        kind=EventKind(record["kind"]),
        bar=json.loads(record["bar"]),
        evidence=json.loads(record["evidence"]),
        revision=record["revision"],
    )
