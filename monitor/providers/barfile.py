"""Bar files: CSV, as many programs write it, and Parquet, read as a sound raw bar frame of one symbol.

Columns are known by many names, upper or lower case; others are passed over. A whole file may stand newest first.
Prices next to an adjusted close are adjusted for splits, never for dividends. Anything that breaks a rule of bars is
refused and named by its line (CSV) or row (Parquet): a bar that was guessed at could be told to people as a fact.
"""

import csv
import re
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path

import polars as pl

from monitor.core.adjust import find_splits, undo_splits
from monitor.core.bars import PRICES, RAW_SCHEMA, violations
from monitor.core.timeframe import Timeframe
from monitor.errors import BarError
from monitor.providers.labels import read_labels

_NAMES = {
    "ts": ("datetime", "timestamp", "ts", "date", "time", "opentime", "unix", "index", "indexlevel0", ""),
    "open": ("open", "o", "openprice"),
    "high": ("high", "h", "highprice"),
    "low": ("low", "l", "lowprice"),
    "close": ("close", "c", "closelast", "closeprice", "last", "price"),
    "volume": ("volume", "tickvol", "tickvolume", "vol", "v"),
    "adjusted": ("adjclose", "adjustedclose", "closeadj", "closeadjusted"),
}
_OPTIONAL = ("volume", "adjusted")
_NUMBERS = (*PRICES, *_OPTIONAL)
_GROUPED = r"^-?\d{1,3}(?:,\d{3})+(?:\.\d*)?$"
_SHOWN = 3


@dataclass(frozen=True)
class _Table:
    """Cells as written. The row at index 0 is on line `first` of the file, lines being called `unit`."""

    cells: pl.DataFrame
    unit: str
    first: int
    grouped: bool = False


def read_bars(path: Path, symbol: str, timeframe: Timeframe, zone: str | None = None) -> pl.DataFrame:
    """The bars of a file; times written without a zone are of `zone`, or UTC.

    Shape: RAW_SCHEMA, sound, sorted. Volume is null where the file has none.
    Raises: BarError.
    """
    return read_file(path, symbol, timeframe, zone)[0]


def read_file(path: Path, symbol: str, timeframe: Timeframe, zone: str | None) -> tuple[pl.DataFrame, bool]:
    """The bars of a file, and whether adjusted closes in it show which splits there were."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BarError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return _bars(_table(content), symbol, timeframe, zone)
    except BarError as error:
        raise BarError(f"{path}: {error.message}", error.hint) from error.__cause__
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise BarError(f"{path}: cannot be read: {error}", "it may be damaged, or not yet whole") from error


def _table(content: bytes) -> _Table:
    if not content.strip():
        raise BarError("is empty")
    if content.startswith(b"PAR1"):
        return _Table(pl.read_parquet(BytesIO(content)), "row", 1)
    return _csv(_text(content))


def _text(content: bytes) -> str:
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise BarError(f"is neither text nor Parquet: {error}", "save it as CSV in UTF-8") from error
    if "\0" in text:
        raise BarError("is neither text nor Parquet: it has zero bytes", "save it as CSV in UTF-8")
    return text


def _csv(text: str) -> _Table:
    body = text.lstrip("\r\n")
    header = body.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    first = text[: len(text) - len(body)].count("\n") + 2
    try:
        cells = pl.read_csv(body.encode(), separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise _uneven(body, separator, first - 1) from error
    _refuse_torn(body, separator, first)
    if cells.columns[0] == "Price" and cells.height > 1 and cells.item(0, 0) == "Ticker":
        # yfinance writes three lines of header; the third names the index
        cells, first = cells.rename({"Price": cells.item(1, 0) or "Date"}).slice(2), first + 2
    return _Table(cells, "line", first, grouped=separator == ",")


def _refuse_torn(body: str, separator: str, first: int) -> None:
    """A last line that was cut short may still read as a bar, with a part of a price."""
    *lines, last = body.split("\n")
    if not last.strip() or len(lines) < 2:
        return
    width, found = (len(next(csv.reader([line], delimiter=separator))) for line in (lines[-1], last))
    if found < width:
        line = first - 1 + len(lines)
        raise BarError(f"line {line} has {found} columns, the line before it {width}", "the file may not be whole yet")


def _uneven(body: str, separator: str, first: int) -> BarError:
    """What is wrong with lines that are no table."""
    lines = csv.reader(StringIO(body), delimiter=separator)
    width = len(next(lines))
    for cells in lines:
        if len(cells) > width:
            line = first - 1 + lines.line_num
            return BarError(f"line {line} has {len(cells)} columns, the header {width}")
    return BarError("cannot be read as CSV", "a quotation mark may be missing")


def _columns(found: list[str]) -> dict[str, str]:
    """Our name of each column → the file's."""
    plain = [re.sub(r"\W|_", "", re.sub(r"^\d+\.|_duplicated_\d+$", "", name)).casefold() for name in found]
    chosen = {}
    for ours, names in _NAMES.items():
        theirs = next((name for name in names if name in plain), None)
        if theirs is not None:
            if plain.count(theirs) > 1:
                raise BarError(f"has more than one column {found[plain.index(theirs)]!r}", "leave one of them")
            chosen[ours] = found[plain.index(theirs)]
    missing = ["date" if name == "ts" else name for name in _NAMES if name not in chosen and name not in _OPTIONAL]
    if missing:
        raise BarError(
            f"has no column for {', '.join(missing)}; found {', '.join(map(repr, found[:20]))}",
            "the first line names the columns: date, open, high, low, close, and if there are any volume and adj close",
        )
    return chosen


def _bars(table: _Table, symbol: str, timeframe: Timeframe, zone: str | None) -> tuple[pl.DataFrame, bool]:
    cells = _cells(table)
    labels = read_labels(cells["ts"], timeframe, zone)
    numbers = {name: _number(cells[name], table.grouped) for name in _NUMBERS if name in cells.columns}
    bars = pl.DataFrame({"ts": labels, **numbers}).with_columns(symbol=pl.lit(symbol))
    if "volume" not in numbers:
        bars = bars.with_columns(volume=pl.lit(None, pl.Float64))
    dates = labels.drop_nulls()
    if len(dates) > 1 and dates[0] > dates[-1] and dates.is_sorted(descending=True):
        cells, bars = cells.reverse(), bars.reverse()
    _refuse(_faults(cells, bars), cells["line"], table.unit)
    if "adjusted" in numbers:
        bars = undo_splits(bars, find_splits(bars))
    return bars.select(*RAW_SCHEMA), "adjusted" in numbers


def _cells(table: _Table) -> pl.DataFrame:
    """The cells of the columns we know, under our names, with their lines; rows without any are left out."""
    names = _columns(table.cells.columns)
    cells = table.cells.select(pl.col(theirs).alias(ours) for ours, theirs in names.items())
    clock = next((name for name in table.cells.columns if name.strip(" <>").casefold() == "time"), None)
    if clock and clock != names["ts"] and names["ts"].strip(" <>").casefold() == "date":
        cells = cells.with_columns(pl.concat_str(pl.col("ts"), table.cells[clock], separator=" "))
    cells = cells.with_columns(pl.col(pl.String).str.strip_chars().replace("", None))
    cells = cells.with_row_index("line", table.first)
    cells = cells.filter(~pl.all_horizontal(pl.exclude("line").is_null()))
    if cells.is_empty():
        raise BarError("has no bars below its header")
    return cells


def _number(written: pl.Series, grouped: bool) -> pl.Series:
    """Null where there is no number. A comma groups digits only where it cannot be a decimal comma."""
    if written.dtype != pl.String:
        return written.cast(pl.Float64, strict=False)
    number = written.cast(pl.Float64, strict=False)
    if number.null_count() == written.null_count():
        return number
    bare = pl.col("bare")
    plain = pl.when(bare.str.contains(_GROUPED) & grouped).then(bare.str.replace_all(",", "")).otherwise(bare)
    cells = written.str.strip_prefix("$").alias("bare").to_frame()
    return cells.select(plain.cast(pl.Float64, strict=False)).to_series()


def _faults(cells: pl.DataFrame, bars: pl.DataFrame) -> dict[int, str]:
    """The first rule that each row breaks, by row."""
    faults = {fault.row: str(fault) for fault in reversed(violations(bars.select(*RAW_SCHEMA)))}
    for name in ("adjusted", *reversed(_NAMES)):
        if name in cells.columns:
            unread = (cells[name].is_not_null() & bars[name].is_null()).arg_true()
            what = "the date" if name == "ts" else f"{name} is not a number and"
            faults |= {row: f"{what} cannot be read ({cells[name][row]!r})" for row in unread}
    return dict(sorted(faults.items()))


def _refuse(faults: dict[int, str], lines: pl.Series, unit: str) -> None:
    if not faults:
        return
    shown = [f"{unit} {lines[row]}: {fault}" for row, fault in list(faults.items())[:_SHOWN]]
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    count = f"{len(faults)} rows break" if len(faults) > 1 else "1 row breaks"
    raise BarError(f"{count} the rules of bars: {'; '.join(shown)}{more}", "correct these rows or leave them out")
