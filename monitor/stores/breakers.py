"""Breakers, as they are kept: how each provider has fared, so that a restart does not ask one that wants to be left
alone."""

from dataclasses import dataclass
from datetime import datetime

from monitor.stores.database import Database, from_us, to_us


@dataclass(frozen=True)
class BreakerRecord:
    """How a provider has fared: `failures` in a row `failing_since`, at which step of waiting, and until when."""

    failures: int = 0
    step: int = 0
    failing_since: datetime | None = None
    open_until: datetime | None = None
    why: str = ""
    succeeded_at: datetime | None = None


class Breakers:
    """The records of all providers, in the state database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, provider: str) -> BreakerRecord:
        """What is known of a provider; a clean record where nothing is."""
        sql = "SELECT failures, step, failing_since, open_until, why, succeeded_at FROM breakers WHERE provider = ?"
        rows = self._database.rows(sql, (provider,))
        if not rows:
            return BreakerRecord()
        failures, step, failing_since, open_until, why, succeeded_at = rows[0]
        return BreakerRecord(failures, step, _instant(failing_since), _instant(open_until), why, _instant(succeeded_at))

    def keep(self, provider: str, record: BreakerRecord) -> None:
        """Put a record in the place of the provider's old one."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO breakers VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    provider, record.failures, record.step, _us(record.failing_since), _us(record.open_until),
                    record.why, _us(record.succeeded_at),
                ),
            )  # fmt: skip


def _instant(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)


def _us(instant: datetime | None) -> int | None:
    return None if instant is None else to_us(instant)
