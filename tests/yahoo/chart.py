"""The chart end point: a query of Yahoo's, answered in Yahoo's JSON, refusals in Yahoo's words included."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from tests.yahoo.faults import PRICES, Answer, Fault, refusal
from tests.yahoo.hours import Day, Hours
from tests.yahoo.market import DAY, LENGTHS, Listing, YahooMarket, paid

RANGES = ("1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max")
_LOOKBACK_DAYS = {"1m": 30, "2m": 60, "5m": 60, "15m": 60, "30m": 60, "90m": 60, "60m": 730, "1h": 730, "4h": 730}
_MINUTES_A_REQUEST = 8 * DAY
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Refused(Exception):
    """Yahoo cannot or will not serve the query; `answer` says so in its words."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.answer: Answer = refusal(status, code, description)


@dataclass(frozen=True)
class Query:
    """What is asked for: the interval, and the stamps from `first` to `last` or a range of Yahoo's."""

    interval: str
    first: datetime | None
    last: datetime
    range: str
    prepost: bool

    @property
    def intraday(self) -> bool:
        return LENGTHS[self.interval] < DAY


def chart(market: YahooMarket, symbol: str, asked: Mapping[str, str], at: datetime) -> dict[str, Any]:
    """The chart of a symbol as it was at an instant.

    Raises: Refused.
    """
    listing = market.listings.get(symbol)
    if listing is None:
        raise Refused(404, "Not Found", "No data found, symbol may be delisted")
    at -= listing.delay
    query = _read(asked, at)
    rows = market.view(listing, query.interval, at)
    first = query.first or _range(query.range, rows, listing.hours, at)
    shown = rows.filter(pl.col("stamp").is_between(first, query.last))
    if market.understates and query.intraday:
        shown = shown.with_columns(pl.col("volume") * pl.when(pl.int_range(pl.len()) == 0).then(0.3).otherwise(1.0))
    result = {"meta": _meta(listing, query, rows, first, at)} | _series(listing, query, shown, first, at)
    return {"chart": {"result": [result], "error": None}}


def spoiled(answered: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """A chart without its times, or without bars."""
    result = answered["chart"]["result"][0]
    result.pop("timestamp", None)
    if fault is Fault.NO_BARS:
        result["indicators"] = {"quote": [{}]}
    elif not result["indicators"]["quote"][0]:
        result["indicators"] = {"quote": [{name: [1.0] for name in (*PRICES, "volume")}]}
    return answered


def _read(asked: Mapping[str, str], at: datetime) -> Query:
    interval, prepost = asked.get("interval", "1d"), asked.get("includePrePost", "false").lower() in {"true", "1"}
    if interval not in LENGTHS:
        known = ", ".join(LENGTHS)
        what = f"Invalid input - interval={interval} is not supported. Valid intervals: [{known}]"
        raise Refused(422, "Unprocessable Entity", what)
    if "period1" not in asked:
        return Query(interval, None, at, asked.get("range", "1d"), prepost)
    first, last = (_EPOCH + timedelta(seconds=int(asked[name])) for name in ("period1", "period2"))
    if first > last:
        dates = f"startDate = {asked['period1']}, endDate = {asked['period2']}"
        raise Refused(400, "Bad Request", f"Invalid input - start date cannot be after end date. {dates}")
    _within_limits(interval, first, min(last, at), asked, at)
    return Query(interval, first, min(last, at), "", prepost)


def _within_limits(interval: str, first: datetime, last: datetime, asked: Mapping[str, str], at: datetime) -> None:
    which = f"{interval} data not available for startTime={asked['period1']} and endTime={asked['period2']}. "
    days = _LOOKBACK_DAYS.get(interval)
    if interval == "1m" and last - first > _MINUTES_A_REQUEST:
        why = "Only 8 days worth of 1m granularity data are allowed to be fetched per request."
    elif days and first < at - days * DAY:
        why = f"The requested range must be within the last {days} days."
    else:
        return
    raise Refused(422, "Unprocessable Entity", which + why)


def _range(text: str, rows: pl.DataFrame, hours: Hours, at: datetime) -> datetime:
    """Where a range of Yahoo's begins: days are days of trading."""
    if text == "max" or rows.is_empty():
        return _EPOCH
    if text == "ytd":
        return hours.stamp(date(at.astimezone(hours.zone).year, 1, 1))
    number = int(text.rstrip("dmoy"))
    if text.endswith("d"):
        dates = rows["stamp"].dt.convert_time_zone(str(hours.zone)).dt.date().unique().sort()
        return hours.stamp(dates[-min(number, len(dates))])
    return pl.Series([at]).dt.offset_by(f"-{number * (12 if text.endswith('y') else 1)}mo")[0]


def _series(listing: Listing, query: Query, shown: pl.DataFrame, first: datetime, at: datetime) -> dict[str, Any]:
    if shown.is_empty():
        return {"indicators": {"quote": [{}]}}
    quote: dict[str, Any] = {name: _numbers(shown[name]) for name in PRICES}
    quote["volume"] = [None if each is None else int(each) for each in shown["volume"]]
    indicators = {"quote": [quote]}
    if not query.intraday:
        indicators["adjclose"] = [{"adjclose": _numbers(shown["adjclose"])}]
    events = _events(listing, first, at)
    return {"timestamp": _seconds(shown["stamp"])} | ({"events": events} if events else {}) | {"indicators": indicators}


def _numbers(column: pl.Series) -> list[float | None]:
    return [None if each is None or math.isnan(each) else each for each in column]


def _seconds(stamps: pl.Series) -> list[int]:
    return stamps.dt.epoch("s").to_list()


def _events(listing: Listing, first: datetime, at: datetime) -> dict[str, Any]:
    hours, today = listing.hours, at.astimezone(listing.hours.zone).date()
    dividends = [
        {"amount": paid(listing, each, at), "date": int(when.timestamp())}
        for each in listing.dividends
        if first <= (when := hours.stamp(each.day)) and each.day <= today
    ]
    splits = [
        {
            "date": int(when.timestamp()),
            "numerator": each.ratio.numerator,
            "denominator": each.ratio.denominator,
            "splitRatio": f"{each.ratio.numerator}:{each.ratio.denominator}",
        }
        for each in listing.splits
        if first <= (when := hours.stamp(each.day)) and listing.rewritten(each, "1d") <= at
    ]
    named = {"dividends": dividends, "splits": splits}
    return {name: {str(each["date"]): each for each in events} for name, events in named.items() if events}


def _meta(listing: Listing, query: Query, rows: pl.DataFrame, first: datetime, at: datetime) -> dict[str, Any]:
    hours, traded = listing.hours, rows.drop_nulls("close")
    before = traded.filter(pl.col("stamp") < first)["close"]
    meta = {
        "currency": listing.currency,
        "symbol": listing.name(at),
        "exchangeName": listing.exchange[0],
        "fullExchangeName": listing.exchange[1],
        "instrumentType": listing.kind,
        "firstTradeDate": int(rows["stamp"][0].timestamp()) if len(rows) else None,
        "regularMarketTime": int(hours.last_trade(at).timestamp()),
        "hasPrePostMarketData": listing.exchange[0] == "NMS",
        **_zone(hours, at),
        "exchangeTimezoneName": str(hours.zone),
        "regularMarketPrice": traded["close"][-1] if len(traded) else None,
        "longName": listing.name(at),
        "shortName": listing.name(at),
        "chartPreviousClose": before[-1] if len(before) else None,
        "priceHint": 4 if listing.kind == "CURRENCY" else 2,
        "currentTradingPeriod": _current(hours, at),
    }
    if query.intraday:
        days = hours.between(max(first, at - 800 * DAY), query.last)
        meta |= {"scale": 3, "tradingPeriods": _trading(hours, days, query.prepost)}
    return meta | {"dataGranularity": query.interval, "range": query.range, "validRanges": list(RANGES)}


def _trading(hours: Hours, days: list[Day], prepost: bool) -> list[Any] | dict[str, Any]:
    regular = [[_period(hours, day)] for day in days]
    if not prepost:
        return regular
    pre = [[period | {"end": period["start"]} for period in day] for day in regular]
    post = [[period | {"start": period["end"]} for period in day] for day in regular]
    return {"pre": pre, "post": post, "regular": regular}


def _current(hours: Hours, at: datetime) -> dict[str, Any]:
    regular = _period(hours, hours.current(at))
    return {
        "pre": regular | {"end": regular["start"]},
        "regular": regular,
        "post": regular | {"start": regular["end"]},
    }


def _period(hours: Hours, day: Day) -> dict[str, Any]:
    start, end = hours.period(day)
    return {"start": int(start.timestamp()), "end": int(end.timestamp())} | _zone(hours, start)


def _zone(hours: Hours, at: datetime) -> dict[str, Any]:
    local = at.astimezone(hours.zone)
    offset = local.utcoffset() or timedelta()
    return {"gmtoffset": int(offset.total_seconds()), "timezone": local.tzname()}
