"""The tables, as ordered migrations of two files: `bars.db` (what the market did) and `state.db` (what we made of it).

Every instant is an integer of microseconds since 1970 UTC. `user_version` counts the migrations a file has had, so that
a reader can tell a newer store without loading anything.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database, Migrations

VERSIONS = {"bars": 2, "state": 2}


def migrations(kind: str) -> "Migrations":
    """The migrations of `bars` or `state`, in order."""
    return {"bars": _bars, "state": _state}[kind]()


def _bars() -> "Migrations":
    from sqlite_utils import Migrations  # it loads pandas where that is installed

    ordered = Migrations("bars")

    @ordered()
    def bars_table(db: "Database") -> None:
        """One symbol's history at one timeframe is one range of the key."""
        db.execute(
            """
            CREATE TABLE bars (
                timeframe TEXT NOT NULL, symbol TEXT NOT NULL, ts INTEGER NOT NULL, closed_at INTEGER NOT NULL,
                open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL, close REAL NOT NULL, volume REAL,
                PRIMARY KEY (timeframe, symbol, ts)
            ) STRICT, WITHOUT ROWID
            """
        )
        db.execute("PRAGMA user_version = 1")

    @ordered()
    def where_bars_came_from_and_what_became_of_them(db: "Database") -> None:
        for statement in _SECOND_BARS:
            db.execute(statement)
        db.execute("PRAGMA user_version = 2")

    return ordered


def _state() -> "Migrations":
    from sqlite_utils import Migrations

    ordered = Migrations("state")

    @ordered()
    def memory_events_and_outbox(db: "Database") -> None:
        for statement in _FIRST_STATE:
            db.execute(statement)
        db.execute("PRAGMA user_version = 1")

    @ordered()
    def breakers_of_providers(db: "Database") -> None:
        db.execute(
            """
            CREATE TABLE breakers (
                provider TEXT NOT NULL PRIMARY KEY, failures INTEGER NOT NULL, step INTEGER NOT NULL,
                failing_since INTEGER, open_until INTEGER, why TEXT NOT NULL, succeeded_at INTEGER
            ) STRICT, WITHOUT ROWID
            """
        )
        db.execute("PRAGMA user_version = 2")

    return ordered


_SECOND_BARS = (
    """
    CREATE TABLE series (
        timeframe TEXT NOT NULL, symbol TEXT NOT NULL, provider TEXT NOT NULL, since INTEGER NOT NULL,
        built_after INTEGER,
        PRIMARY KEY (timeframe, symbol)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE instruments (
        symbol TEXT NOT NULL PRIMARY KEY, market TEXT, currency TEXT NOT NULL, kind TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE trading_hours (
        market TEXT NOT NULL, date INTEGER NOT NULL, open INTEGER NOT NULL, close INTEGER NOT NULL,
        PRIMARY KEY (market, date)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE bar_revisions (
        id INTEGER PRIMARY KEY, timeframe TEXT NOT NULL, symbol TEXT NOT NULL, ts INTEGER NOT NULL,
        seen_at INTEGER NOT NULL, kind TEXT NOT NULL, before TEXT, after TEXT, why TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX bar_revisions_by_symbol ON bar_revisions (symbol, timeframe, ts)",
    """
    CREATE TABLE reevaluations (
        timeframe TEXT NOT NULL, symbol TEXT NOT NULL, since INTEGER NOT NULL, kind TEXT NOT NULL, why TEXT NOT NULL,
        PRIMARY KEY (timeframe, symbol)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE holes (
        timeframe TEXT NOT NULL, symbol TEXT NOT NULL, ts INTEGER NOT NULL, closed_at INTEGER NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (timeframe, symbol, ts)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX holes_to_fill ON holes (timeframe, symbol, ts) WHERE state IN ('pending', 'skipped')",
    """
    CREATE TABLE quarantines (
        timeframe TEXT NOT NULL, symbol TEXT NOT NULL, ts INTEGER NOT NULL, found_at INTEGER NOT NULL,
        ratio REAL NOT NULL, why TEXT NOT NULL, believed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (timeframe, symbol)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE missing (
        timeframe TEXT NOT NULL, symbol TEXT NOT NULL, since INTEGER NOT NULL, why TEXT NOT NULL,
        PRIMARY KEY (timeframe, symbol)
    ) STRICT, WITHOUT ROWID
    """,
)

_FIRST_STATE = (
    """
    CREATE TABLE cursors (
        timeframe TEXT NOT NULL, symbol TEXT NOT NULL, cursor INTEGER NOT NULL,
        PRIMARY KEY (timeframe, symbol)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE trend_states (
        timeframe TEXT NOT NULL, method TEXT NOT NULL, symbol TEXT NOT NULL,
        state INTEGER NOT NULL, kind INTEGER NOT NULL, run INTEGER NOT NULL,
        PRIMARY KEY (timeframe, method, symbol)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE check_states (
        timeframe TEXT NOT NULL, check_digest TEXT NOT NULL, symbol TEXT NOT NULL, armed_from INTEGER NOT NULL,
        state INTEGER NOT NULL, kind INTEGER NOT NULL, run INTEGER NOT NULL,
        PRIMARY KEY (timeframe, check_digest, symbol)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE events (
        key TEXT NOT NULL PRIMARY KEY, check_digest TEXT NOT NULL, check_name TEXT NOT NULL, symbol TEXT NOT NULL,
        timeframe TEXT NOT NULL, ts INTEGER NOT NULL, closed_at INTEGER NOT NULL, due_at INTEGER NOT NULL,
        kind TEXT NOT NULL, revision INTEGER NOT NULL, bar TEXT NOT NULL, evidence TEXT NOT NULL,
        provider TEXT NOT NULL, config_digest TEXT NOT NULL, committed_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX events_by_symbol ON events (symbol, timeframe, ts)",
    """
    CREATE TABLE deliveries (
        key TEXT NOT NULL PRIMARY KEY, event_key TEXT NOT NULL REFERENCES events (key), channel TEXT NOT NULL,
        check_digest TEXT NOT NULL, check_name TEXT NOT NULL, symbol TEXT NOT NULL, timeframe TEXT NOT NULL,
        ts INTEGER NOT NULL, closed_at INTEGER NOT NULL, kind TEXT NOT NULL,
        watchlists TEXT NOT NULL, severity TEXT NOT NULL, state TEXT NOT NULL,
        reason TEXT NOT NULL, detail TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, not_before INTEGER NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, batch_id TEXT REFERENCES batches (id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX deliveries_by_event ON deliveries (event_key)",
    "CREATE INDEX deliveries_to_send ON deliveries (channel, key) WHERE state IN ('pending', 'inflight')",
    """
    CREATE INDEX deliveries_in_order ON deliveries (check_digest, symbol, timeframe, channel, closed_at)
    """,
    """
    CREATE TABLE batches (
        id TEXT NOT NULL PRIMARY KEY, channel TEXT NOT NULL, payload BLOB NOT NULL, sha256 TEXT NOT NULL,
        sealed_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE attempts (
        batch_id TEXT NOT NULL REFERENCES batches (id), number INTEGER NOT NULL, started_at INTEGER NOT NULL,
        ended_at INTEGER, outcome TEXT, detail TEXT,
        PRIMARY KEY (batch_id, number)
    ) STRICT, WITHOUT ROWID
    """,
)
