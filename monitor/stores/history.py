"""History: what was found and told, for people to look at. Reads only, and beside a running daemon too."""

import json
from datetime import datetime
from typing import Any

from monitor.stores.database import Database, from_us, to_us

_INSTANTS = {
    "ts",
    "closed_at",
    "due_at",
    "committed_at",
    "created_at",
    "updated_at",
    "not_before",
    "started_at",
    "ended_at",
}
_DOCUMENTS = {"bar", "evidence", "watchlists"}


class History:
    """Queries over one state database; instants come as aware datetimes, stored JSON as values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events(self, *, since: datetime | None = None, limit: int = 50, **equal: str | None) -> list[dict[str, Any]]:
        """The newest events, newest first; `equal` narrows by symbol, timeframe, check_name or kind."""
        where, parameters = _where(equal, "closed_at", since)
        return self._records(f"SELECT * FROM events WHERE {where} ORDER BY key DESC LIMIT :limit", parameters, limit)

    def deliveries(
        self, *, since: datetime | None = None, limit: int = 50, **equal: str | None
    ) -> list[dict[str, Any]]:
        """The newest deliveries with the kind of their event, newest first; `equal` also takes state and channel."""
        where, parameters = _where({f"d.{name}": value for name, value in equal.items()}, "d.closed_at", since)
        sql = (
            "SELECT d.*, e.due_at FROM deliveries d JOIN events e ON e.key = d.event_key "
            f"WHERE {where} ORDER BY d.key DESC LIMIT :limit"
        )
        return self._records(sql, parameters, limit)

    def attempts(self, batch: str) -> list[dict[str, Any]]:
        """The attempts of a batch, in order."""
        return self._records(
            "SELECT * FROM attempts WHERE batch_id = :batch ORDER BY number LIMIT :limit", {"batch": batch}, 1000
        )

    def armed_from(self, check_digest: str, symbol: str, timeframe: str) -> datetime | None:
        """The bar from which a check is armed."""
        sql = "SELECT armed_from FROM check_states WHERE timeframe = ? AND check_digest = ? AND symbol = ?"
        found = self._database.rows(sql, (timeframe, check_digest, symbol))
        return from_us(found[0][0]) if found else None

    def _records(self, sql: str, parameters: dict[str, Any], limit: int) -> list[dict[str, Any]]:
        return [
            {name: _value(name, value) for name, value in record.items()}
            for record in self._database.records(sql, parameters | {"limit": limit})
        ]


def _value(name: str, value: Any) -> Any:
    if value is not None and name in _INSTANTS:
        return from_us(value)
    return json.loads(value) if name in _DOCUMENTS else value


def _where(equal: dict[str, str | None], time_column: str, since: datetime | None) -> tuple[str, dict[str, Any]]:
    given = {name: value for name, value in equal.items() if value is not None}
    clauses = [f"{name} = :{name.rpartition('.')[2]}" for name in given]
    parameters: dict[str, Any] = {name.rpartition(".")[2]: value for name, value in given.items()}
    if since:
        clauses.append(f"{time_column} >= :since")
        parameters["since"] = to_us(since)
    return " AND ".join(clauses) or "TRUE", parameters
