"""Bars from a folder of files, `<timeframe>/<SYMBOL>.csv` or `.parquet`, that another program keeps up to date.

A file knows what was known when it was *written*, its modification time, however late it is read: a bar that was still
forming then is not closed now, and stays so until the file is written again.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from os import SEEK_END, stat_result
from pathlib import Path

import polars as pl

from monitor.core.bars import RAW_SCHEMA
from monitor.core.timeframe import TIMEFRAMES, Timeframe
from monitor.errors import BarwatchError, ProviderError, UnknownSymbol
from monitor.ports import Fetched
from monitor.providers.barfile import read_file

_SUFFIXES = (".csv", ".parquet")
_SETTLED = timedelta(seconds=5)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def symbols_in(folder: Path, timeframe: Timeframe) -> list[str]:
    """The symbols that a folder of bar files has, sorted."""
    try:
        return sorted({path.stem for path in (folder / timeframe.name).iterdir() if path.suffix in _SUFFIXES})
    except OSError:
        return []


class FilesProvider:
    """Bars from a folder of files; each symbol is known as of the moment its file was written.

    Intraday times written without a zone are of `zone`, or UTC.
    """

    name = "files"
    native = frozenset(TIMEFRAMES)
    batch = 100_000
    scarce = False

    def __init__(self, folder: Path, zone: str | None = None) -> None:
        self._folder = folder
        self._zone = zone

    def lag(self, market: str, timeframe: Timeframe) -> timedelta:
        return timedelta(0)

    def lookback(self, timeframe: Timeframe) -> timedelta | None:
        return None

    def close(self) -> None:
        pass

    def fetch(self, since: Mapping[str, datetime | None], timeframe: Timeframe, now: datetime) -> Fetched:
        """The bars of each symbol's file labelled at or after its `since`.

        `as_of` is the modification time of the file, or `now` if that is earlier.
        """
        bars = [pl.DataFrame(schema=RAW_SCHEMA)]
        as_of: dict[str, datetime] = {}
        failures: dict[str, BarwatchError] = {}
        vouched: set[str] = set()
        for symbol, start in sorted(since.items()):
            try:
                known, adjusted, written = self._read(symbol, timeframe, now)
            except BarwatchError as failure:
                failures[symbol] = failure
            else:
                bars.append(known if start is None else known.filter(pl.col("ts") >= start))
                as_of[symbol] = min(now, written)
                if adjusted:
                    vouched.add(symbol)
        return Fetched(pl.concat(bars), as_of, failures, vouched=vouched)

    def _read(self, symbol: str, timeframe: Timeframe, now: datetime) -> tuple[pl.DataFrame, bool, datetime]:
        try:
            path = self._path(symbol, timeframe)
            # The time is taken before the content: a write in between makes the bars seem older, never newer.
            before = path.stat()
            written = _EPOCH + timedelta(microseconds=before.st_mtime_ns // 1000)
            bars, adjusted = read_file(path, symbol, timeframe, self._zone)
            changed = _identity(path.stat()) != _identity(before)
            torn = timedelta(0) <= now - written < _SETTLED and not _ends_its_last_line(path)
        except OSError as error:
            raise ProviderError(f"{timeframe} bars of {symbol} cannot be read: {error}") from error
        if changed or torn:
            raise ProviderError(f"{path}: was being written while it was read", "it is read again at the next poll")
        return bars, adjusted, written

    def _path(self, symbol: str, timeframe: Timeframe) -> Path:
        folder = self._folder / timeframe.name
        if Path(symbol).name != symbol:
            raise UnknownSymbol(f"{symbol!r} cannot be the name of a file in {folder}")
        found = [path for suffix in _SUFFIXES if (path := folder / f"{symbol}{suffix}").exists()]
        if len(found) > 1:
            raise ProviderError(f"{symbol} has two files, {found[0]} and {found[1]}", "keep one of them")
        if not found:
            raise UnknownSymbol(
                f"no {timeframe} bars of {symbol}: neither {symbol}.csv nor {symbol}.parquet is in {folder}",
                self._nearest(symbol, timeframe),
            )
        return found[0]

    def _nearest(self, symbol: str, timeframe: Timeframe) -> str:
        present = {name.casefold(): name for name in symbols_in(self._folder, timeframe)}
        near = [present[name] for name in get_close_matches(symbol.casefold(), present, 3, 0.5)]
        if near:
            return f"did you mean {' or '.join(map(repr, near))}?"
        return f"it has {', '.join(sorted(present.values())[:5])}" if present else "no bar file is there"


def _identity(stat: stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _ends_its_last_line(path: Path) -> bool:
    """Whether a file's last line may be whole; for Parquet the file itself says so."""
    if path.suffix == ".parquet":
        return True
    with path.open("rb") as file:
        file.seek(-1, SEEK_END)
        return file.read(1) == b"\n"
