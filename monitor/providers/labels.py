"""Labels: dates and times, as people write them in files, read as the labels of bars.

One *style* holds for a whole file: year first (`2026-11-20 09:30:00-05:00`), all digits (`20261120`), American
(`11/20/2026`), or seconds, milliseconds and so on since 1970.
"""

import polars as pl

from monitor.core.bars import INSTANT
from monitor.core.timeframe import Timeframe
from monitor.errors import BarError, InputError

_CLOCK = (
    r"(?:(?:T|\s+)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d+)?)?\s*(?P<half>[AaPp][Mm])?"
    r"\s*(?P<offset>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?$"
)
_YEAR_FIRST = r"^(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})" + _CLOCK
_DIGITS = r"^(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})" + _CLOCK
_AMERICAN = r"^(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})" + _CLOCK
_SINCE_1970 = r"^\d{9,10}(?:\.\d+)?$|^\d{12,13}$|^\d{15,16}$|^\d{18,19}$"
_STYLES = (_YEAR_FIRST, _DIGITS, _AMERICAN, _SINCE_1970)


def read_labels(written: pl.Series, timeframe: Timeframe, zone: str | None) -> pl.Series:
    """The labels that a column of a file stands for.

    An intraday time without a zone is of `zone`, or UTC; a longer bar has the date as it is written, whatever the zone.
    Shape: `INSTANT`, null where nothing can be read.
    Raises: BarError when the column as a whole cannot be understood.
    """
    text = _text(written).str.strip_chars()
    style = max(_STYLES, key=lambda style: text.str.contains(style).sum())
    if style == _SINCE_1970:
        return _since_1970(text, timeframe, zone or "UTC")
    parts = text.str.extract_groups(style).struct.unnest()
    if style == _AMERICAN:
        _refuse_ambiguous(parts, text)
    date = _date(parts)
    if not timeframe.intraday:
        return date.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if parts["hour"].is_null().all() and date.is_not_null().any():
        raise BarError(
            f"{_first(text)!r} has no time of day, as {timeframe} bars need",
            "if these are daily bars, read them as 1d",
        )
    return _instant(date, parts, zone or "UTC")


def _text(written: pl.Series) -> pl.Series:
    if written.dtype.is_temporal():
        return written.dt.to_string("iso")
    return (written.cast(pl.Int64) if written.dtype.is_float() else written).cast(pl.String)


def _first(text: pl.Series) -> str:
    return str(text.drop_nulls().first())


def _refuse_ambiguous(parts: pl.DataFrame, text: pl.Series) -> None:
    months, days = (parts[name].cast(pl.Int64) for name in ("month", "day"))
    if (days > 12).any() and not (months > 12).any():
        return
    raise BarError(
        f"nothing in the file shows that dates like {_first(text)!r} are month/day/year",
        "write dates with the year first, like 2026-11-20",
    )


def _date(parts: pl.DataFrame) -> pl.Series:
    digits = pl.concat_str("year", pl.col("month").str.zfill(2), pl.col("day").str.zfill(2))
    return parts.select(digits.str.to_date("%Y%m%d", strict=False).alias("ts")).to_series()


def _instant(date: pl.Series, parts: pl.DataFrame, zone: str) -> pl.Series:
    hour, minute, second = (pl.col(name).cast(pl.Int64).fill_null(0) for name in ("hour", "minute", "second"))
    half = pl.col("half").str.to_lowercase()
    hour = pl.when(half.is_null()).then(hour).otherwise(hour % 12 + pl.when(half == "pm").then(12).otherwise(0))
    real = (hour < 24) & (minute < 60) & (second < 60)
    local = pl.col("ts").cast(pl.Datetime("us")) + pl.duration(hours=hour, minutes=minute, seconds=second)
    digits = pl.col("offset").str.replace(":", "").str.pad_end(5, "0").str.to_integer(strict=False).fill_null(0)
    east = pl.duration(minutes=digits.sign() * (digits.abs() // 100 * 60 + digits.abs() % 100))
    told = (local - east).dt.replace_time_zone("UTC")
    try:
        # An hour that a clock change skips or repeats is no instant: nobody can tell which was meant.
        assumed = local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")
    except pl.exceptions.ComputeError:
        raise InputError(f"unknown time zone {zone!r}; expected one like 'America/New_York'") from None
    instant = pl.when(real).then(pl.when(pl.col("offset").is_null()).then(assumed).otherwise(told))
    return parts.with_columns(date).select(instant.cast(INSTANT).alias("ts")).to_series()


def _since_1970(text: pl.Series, timeframe: Timeframe, zone: str) -> pl.Series:
    """Labels from a count of seconds or parts of them; how many digits it has tells of what."""
    count = pl.when(pl.col("text").str.contains(_SINCE_1970)).then(pl.col("text").str.split(".").list.first())
    digits, whole = count.str.len_chars(), count.cast(pl.Int64, strict=False)
    micro = (
        pl.when(digits < 12)
        .then(whole * 1_000_000)
        .when(digits < 15)
        .then(whole * 1000)
        .when(digits < 18)
        .then(whole)
        .otherwise(whole // 1000)
    )
    instants = pl.DataFrame({"text": text}).select(micro.cast(INSTANT).alias("ts")).to_series()
    if timeframe.intraday:
        return instants
    return instants.dt.convert_time_zone(zone).dt.date().cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
