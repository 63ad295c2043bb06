"""Bars of shares of the United States from the market data API of Alpaca, adjusted for splits; many symbols a request.

A *ticker* is a symbol as Alpaca writes it (`BRK.B`). Its intraday bars are counted from the full hour and go on before
and after the session: those of the session are kept, and lengths that do not fit into it are not asked for. The feed of
all exchanges is free when it is 15 minutes old.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from typing import Any

import polars as pl

from monitor.core.adjust import Split
from monitor.core.bars import RAW_SCHEMA
from monitor.core.timeframe import Timeframe
from monitor.errors import ProviderError, UnknownSymbol, Unreachable
from monitor.ports import Fetched, Instrument
from monitor.providers import AlpacaSettings
from monitor.providers.pace import TokenBucket
from monitor.providers.rest import HISTORY_BARS, HISTORY_DAYS, Answer, Api, Known, Round, bars_of, secret, starts
from monitor.sessions import Sessions

URL = "https://data.alpaca.markets"
PAGE = 10_000
PAGES = 400
MARKET = "XNYS"
NEW_YORK = "America/New_York"
DELAY = timedelta(minutes=16)  # a minute more, for clocks that differ

_INTERVALS = {"1m": "1Min", "2m": "2Min", "5m": "5Min", "15m": "15Min", "30m": "30Min", "1d": "1Day"}
_OPEN_OF_ALL_TIME = 5.5  # of which the market is open for one
_SYMBOL = re.compile(r"[A-Z]{1,5}(-[A-Z]{1,2})?")
_INVALID = re.compile(r"invalid symbol: ([A-Z.]+)")
_INSTRUMENT = Instrument(MARKET, "USD", "equity")
_HOURS = timedelta(hours=9, minutes=30), timedelta(hours=16)


class AlpacaProvider:
    """Shares of the United States, at most about 5000 bars or 10 years back.

    Raises: ConfigError.
    """

    name = "alpaca"
    native = frozenset(_INTERVALS)
    batch = 100
    scarce = True

    def __init__(self, settings: AlpacaSettings) -> None:
        keys = {
            "apca-api-key-id": secret(self.name, "key_id", settings.key_id, settings.key_id_file),
            "apca-api-secret-key": secret(self.name, "secret", settings.secret, settings.secret_file),
        }
        self._api = Api("Alpaca", settings.url or URL, TokenBucket(3, burst=15), keys)
        self._feed = "iex" if settings.feed == "iex" else "sip"
        self._delay = DELAY if settings.feed == "delayed_sip" else timedelta(0)

    def lag(self, market: str, timeframe: Timeframe) -> timedelta:
        return self._delay if timeframe.intraday else timedelta(0)

    def lookback(self, timeframe: Timeframe) -> timedelta | None:
        return HISTORY_BARS * timeframe.length * _OPEN_OF_ALL_TIME if timeframe.intraday else HISTORY_DAYS

    def close(self) -> None:
        self._api.close()

    def fetch(self, since: Mapping[str, datetime | None], timeframe: Timeframe, now: datetime) -> Fetched:
        """The bars of each symbol labelled at or after its `since`, as far back as `lookback`."""
        fetching = Round()
        asked = starts(since, now - (self.lookback(timeframe) or HISTORY_DAYS))

        def ask(group: Sequence[str]) -> None:
            _check(group, timeframe)
            wanted = _Wanted({symbol: asked[symbol] for symbol in group}, timeframe, now - self._delay, now)
            new = {symbol for symbol in group if since[symbol] is None}
            self._ask(fetching, wanted, new)
            if stored := [_ticker(symbol) for symbol in group if symbol in fetching.as_of and symbol not in new]:
                with suppress(ProviderError):  # bars are as good without word of their splits
                    fetching.splits |= self._splits(stored, wanted)

        return fetching.go(_groups(asked, timeframe, now), ask)

    def _ask(self, fetching: Round, wanted: "_Wanted", new: Collection[str]) -> None:
        """Take up each symbol as soon as all its rows have come: a later failure is not its failure."""
        waiting = {_ticker(symbol): symbol for symbol in wanted.starts}
        parts = {ticker: [pl.DataFrame(schema=RAW_SCHEMA)] for ticker in waiting}
        moment = wanted.end

        def take_up(tickers: Iterable[str]) -> None:
            for ticker in tickers:
                symbol = waiting.pop(ticker)
                bars = _regular(pl.concat(parts[ticker]), wanted.timeframe)
                if bars.is_empty() and symbol in new:
                    fetching.failures[symbol] = UnknownSymbol(f"Alpaca has no {wanted.timeframe} bars of {symbol}")
                else:
                    fetching.add(symbol, wanted.starts[symbol], Known(bars, moment, _INSTRUMENT))

        for answer in self._pages(fetching, waiting, wanted):
            moment = min(moment, answer.moment - self._delay)
            with self._api.understood():
                given = answer.body["bars"] or {}
                for ticker in given.keys() & waiting.keys():
                    parts[ticker].append(bars_of(waiting[ticker], map(_row, given[ticker])))
                newest = max(given, default="")
            take_up([ticker for ticker in waiting if ticker < newest])  # the rows come in order of tickers
        take_up([*waiting])

    def _pages(self, fetching: Round, waiting: dict[str, str], wanted: "_Wanted") -> Iterator[Answer]:
        """The answers that together have all rows; what Alpaca calls no symbol no longer waits."""
        token: dict[str, str] = {}
        symbols = ",".join(sorted(waiting))
        for _ in range(PAGES):
            if not symbols or wanted.start > wanted.end:
                return
            params = {"symbols": symbols, "timeframe": _INTERVALS[wanted.timeframe.name], "adjustment": "split"}
            span = {
                "start": _written(wanted.start),
                "end": _written(wanted.end),
                "limit": str(PAGE),
                "feed": self._feed,
            }
            answer = self._api.get("/v2/stocks/bars", params | span | token, wanted.now)
            if answer.status == 200:
                yield answer
                with self._api.understood():
                    if not answer.body["next_page_token"]:
                        return
                    token = {"page_token": str(answer.body["next_page_token"])}
            elif (ticker := _refused(answer)) in waiting:
                symbol = waiting.pop(ticker)
                fetching.failures[symbol] = UnknownSymbol(f"Alpaca has no symbol {symbol}")
                symbols = ",".join(sorted(waiting))
            else:
                raise self._refusal(answer)
        raise Unreachable(f"Alpaca gave {PAGES} pages and no end of them")

    def _refusal(self, answer: Answer) -> ProviderError:
        if answer.status in (403, 422) and "subscription" in _message(answer):
            return self._api.refusal(answer, 'your plan lacks this feed: set `feed = "delayed_sip"` or `feed = "iex"`')
        if answer.status in (401, 403):
            return self._api.refusal(answer, "check `key_id` and `secret`, or the files that hold them")
        return self._api.refusal(answer)

    def _splits(self, tickers: list[str], wanted: "_Wanted") -> dict[str, tuple[Split, ...]]:
        params = {
            "symbols": ",".join(tickers),
            "types": "forward_split,reverse_split",
            "start": f"{wanted.start:%Y-%m-%d}",
            "end": f"{wanted.now:%Y-%m-%d}",
            "limit": "1000",
        }
        answer = self._api.get("/v1/corporate-actions", params, wanted.now)
        symbols = {_ticker(symbol): symbol for symbol in wanted.starts}
        found: dict[str, tuple[Split, ...]] = {}
        with self._api.understood():
            actions = answer.body["corporate_actions"]
            for action in actions.get("forward_splits", []) + actions.get("reverse_splits", []):
                label = datetime.fromisoformat(action["ex_date"]).replace(tzinfo=UTC)
                ratio = Fraction(str(action["new_rate"])) / Fraction(str(action["old_rate"]))
                symbol = symbols[action["symbol"]]
                found[symbol] = (*found.get(symbol, ()), Split(label, ratio))
        return found


@dataclass(frozen=True)
class _Wanted:
    """What a group of symbols is asked for: from which label on each, up to what the plan lets one know."""

    starts: Mapping[str, datetime]
    timeframe: Timeframe
    end: datetime
    now: datetime

    @property
    def start(self) -> datetime:
        return min(self.starts.values())


def _check(group: Sequence[str], timeframe: Timeframe) -> None:
    if timeframe.name not in _INTERVALS:
        raise UnknownSymbol(f"Alpaca has no {timeframe} bars that begin with the session")
    for symbol in group:
        if not _SYMBOL.fullmatch(symbol):
            raise UnknownSymbol(
                f"Alpaca has no {symbol!r}, but shares of the United States, written like AAPL or BRK-B"
            )


def _groups(asked: Mapping[str, datetime], timeframe: Timeframe, now: datetime) -> list[list[str]]:
    """The symbols that share requests: those that are asked for from about the same time on."""
    alike: dict[Any, list[str]] = {}
    for symbol in sorted(asked):
        age = ((now - asked[symbol]) // timeframe.length).bit_length()
        alike.setdefault(age if _SYMBOL.fullmatch(symbol) else symbol, []).append(symbol)
    batch = AlpacaProvider.batch
    return [symbols[n : n + batch] for symbols in alike.values() for n in range(0, len(symbols), batch)]


def _ticker(symbol: str) -> str:
    return symbol.replace("-", ".")


def _message(answer: Answer) -> str:
    return str(answer.body.get("message", "")) if isinstance(answer.body, dict) else ""


def _refused(answer: Answer) -> str:
    """The ticker for which Alpaca refuses a whole request."""
    found = _INVALID.search(_message(answer)) if answer.status in (400, 422) else None
    return found[1] if found else ""


def _regular(bars: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """The bars of sessions: daily ones by their date, of others those of the usual hours where no session is known."""
    local = pl.col("ts").dt.convert_time_zone(NEW_YORK)
    if not timeframe.intraday:
        return bars.with_columns(local.dt.date().cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("ts"))
    years = sorted({*bars["ts"].dt.year()})
    labels = pl.concat([bars["ts"].clear(), *(_labels(year, timeframe) for year in years)])
    known = pl.col("ts").dt.date().is_in(labels.dt.date().unique().implode())
    usual = local.dt.replace_time_zone(None) - local.dt.date()
    return bars.filter(pl.col("ts").is_in(labels.implode()) | (~known & usual.is_between(*_HOURS, closed="left")))


@cache
def _labels(year: int, timeframe: Timeframe) -> pl.Series:
    first, last = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    return Sessions(MARKET, first.date(), last.date()).grid(timeframe, first, last)["label"]


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return datetime.fromisoformat(row["t"]), row["o"], row["h"], row["l"], row["c"], row["v"]
