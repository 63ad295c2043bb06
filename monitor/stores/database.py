"""Database: one SQLite file with one writing connection behind one lock, and the directory that holds the two files.

A *state directory* belongs to one writing process, which holds its lock file for life; anyone may read beside it.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from monitor.errors import StoreError, StoreInUse, StoreNewer
from monitor.stores import schema

DAY_US = 86_400_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(instant: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The aware instant of so many microseconds since 1970."""
    return _EPOCH + us * _MICROSECOND


class Database:
    """One SQLite file, open for writing (and migrated to our schema) or for reading only."""

    def __init__(self, path: Path, kind: str, *, readonly: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        mode = "ro" if readonly else "rwc"
        try:
            self.connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
            )
            self.connection.execute("PRAGMA busy_timeout = 10000")
            self._refuse_newer(kind)
            if readonly:
                self._refuse_older(kind)
            else:
                self._prepare(kind)
        except (sqlite3.Error, StoreError) as error:
            if hasattr(self, "connection"):
                self.connection.close()
            if isinstance(error, StoreError):
                raise
            raise _ours(error, path) from error

    def _refuse_newer(self, kind: str) -> None:
        found = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if found > schema.VERSIONS[kind]:
            raise StoreNewer(
                f"{self.path} was written by a newer Barwatch (schema {found}, this one knows {schema.VERSIONS[kind]})",
                "upgrade Barwatch, or give this version its own state_directory; the store was left as it is",
            )

    def _refuse_older(self, kind: str) -> None:
        found = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if found < schema.VERSIONS[kind]:
            raise StoreError(
                f"{self.path} was written by an older Barwatch (schema {found}, this one has {schema.VERSIONS[kind]})",
                "run `barwatch once` or `barwatch run` first, which bring it up to date",
            )

    def _prepare(self, kind: str) -> None:
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("PRAGMA foreign_keys = ON")
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if version == schema.VERSIONS[kind]:
            return
        if version:
            with contextlib.closing(sqlite3.connect(self.path.with_suffix(f".before-{version + 1}.db"))) as copy:
                self.connection.backup(copy)
        import sqlite_utils  # it loads pandas where that is installed

        with self.transaction():
            schema.migrations(kind).apply(sqlite_utils.Database(self.connection))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and nobody else's writes among ours."""
        with self._lock:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self.connection
                    self.connection.execute("COMMIT")
                except BaseException:
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise _ours(error, self.path) from error

    def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._lock:
            try:
                return self.connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise _ours(error, self.path) from error

    def records(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[dict[str, Any]]:
        """The rows of a query, each with its columns' names."""
        with self._lock:
            try:
                cursor = self.connection.execute(sql, parameters)
                names = [column[0] for column in cursor.description]
                return [dict(zip(names, row, strict=True)) for row in cursor]
            except sqlite3.Error as error:
                raise _ours(error, self.path) from error

    def close(self) -> None:
        with self._lock:
            self.connection.close()


def _ours(error: sqlite3.Error, path: Path) -> StoreError:
    name = getattr(error, "sqlite_errorname", "")
    hints = {
        "SQLITE_CANTOPEN": "check that the directory exists and that you may read and write it",
        "SQLITE_READONLY": "make the file and its directory writable for the user who runs Barwatch",
        "SQLITE_FULL": "free disk space; nothing was lost, the work is taken up again",
        "SQLITE_NOTADB": "it is no store and was left as it is: restore a backup or name another state_directory",
        "SQLITE_CORRUPT": "it is damaged and was left as it is: restore a backup or name another state_directory",
        "SQLITE_BUSY": "another program holds the file; close it",
    }
    return StoreError(f"{path}: {error} ({name})", next((hint for code, hint in hints.items() if code in name), ""))


class StateDirectory:
    """The directory of the stores; hold it to write, or just look into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def hold(self) -> Self:
        """Make it ours alone until `release` or the end of the process.

        Raises: StoreInUse, StoreError when it cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"cannot write the state directory {self.path}: {error.strerror}",
                "make it writable, or name another with state_directory in config.toml or BARWATCH__STATE_DIRECTORY",
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise StoreInUse(
                f"another Barwatch is using {self.path}", "stop it first, or give this one its own state_directory"
            ) from error
        except OSError as error:
            self.release()
            raise StoreError(
                f"cannot lock {self.path}: {error.strerror}", "put state_directory on a local disk"
            ) from error
        return self

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def open(self, kind: str) -> Database:
        """The database of that kind; for writing while held, otherwise only for reading."""
        path = self.path / f"{kind}.db"
        if self._lock is None:
            if not path.exists() or path.stat().st_size == 0:
                raise StoreError(f"there is no store in {self.path} yet", "run `barwatch once` or `barwatch run` first")
            return Database(path, kind, readonly=True)
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return Database(path, kind)
