"""Bars of crypto from the exchange of Coinbase, which has none for a time in which nothing was traded."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from monitor.core.bars import RAW_SCHEMA
from monitor.core.timeframe import Timeframe
from monitor.errors import UnknownSymbol
from monitor.markets import guess_market
from monitor.ports import Fetched, Instrument
from monitor.providers import CoinbaseSettings
from monitor.providers.pace import TokenBucket
from monitor.providers.rest import Answer, Api, Known, Round, bars_of, history, starts

URL = "https://api.exchange.coinbase.com"
PAGE = 300

_PAIR = re.compile(r"[A-Z0-9]{1,20}-([A-Z]{3,5})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CoinbaseProvider:
    """Crypto of Coinbase, at most 5000 bars or 10 years back."""

    name = "coinbase"
    native = frozenset({"1m", "5m", "15m", "1h", "1d"})
    batch = 50
    scarce = True

    def __init__(self, settings: CoinbaseSettings) -> None:
        self._api = Api("Coinbase", settings.url or URL, TokenBucket(9, burst=10))

    def lag(self, market: str, timeframe: Timeframe) -> timedelta:
        return timedelta(0)

    def lookback(self, timeframe: Timeframe) -> timedelta | None:
        return history(timeframe)

    def close(self) -> None:
        self._api.close()

    def fetch(self, since: Mapping[str, datetime | None], timeframe: Timeframe, now: datetime) -> Fetched:
        """The bars of each pair labelled at or after its `since`, as far back as `lookback`."""
        asked = starts(since, now - history(timeframe))
        return Round().one_by_one(asked, lambda symbol, start: self._know(symbol, start, timeframe, now))

    def _know(self, symbol: str, start: datetime, timeframe: Timeframe, now: datetime) -> Known:
        quote = _quote(symbol, timeframe)
        parts, moment = [pl.DataFrame(schema=RAW_SCHEMA)], now
        for first, last in _windows(start, now, timeframe):
            answer = self._window(symbol, first, last, timeframe, now)
            with self._api.understood():
                part = bars_of(symbol, [_row(row) for row in reversed(answer.body)])
            parts.append(part)
            moment = min(moment, answer.moment)
            if part.is_empty() and start <= now - history(timeframe):
                break  # a whole history begins where there is nothing before it
        return Known(pl.concat(parts), moment, Instrument("24/7", quote, "crypto"))

    def _window(self, symbol: str, first: datetime, last: datetime, timeframe: Timeframe, now: datetime) -> Answer:
        params = {
            "start": first.isoformat(),
            "end": last.isoformat(),
            "granularity": str(timeframe.length // timedelta(seconds=1)),
        }
        answer = self._api.get(f"/products/{symbol}/candles", params, now)
        if answer.status == 404 and answer.body == {"message": "NotFound"}:
            raise UnknownSymbol(f"Coinbase has no pair {symbol}")
        if answer.status != 200:
            raise self._api.refusal(answer)
        return answer


def _quote(symbol: str, timeframe: Timeframe) -> str:
    """The currency that a pair is quoted in."""
    if timeframe.name not in CoinbaseProvider.native:
        raise UnknownSymbol(f"Coinbase has no {timeframe} bars")
    written = _PAIR.fullmatch(symbol)
    if not written or guess_market(symbol) != "24/7":
        raise UnknownSymbol(f"Coinbase has no {symbol!r}, but crypto, written like BTC-USD")
    return written[1]


def _windows(start: datetime, now: datetime, timeframe: Timeframe) -> Iterator[tuple[datetime, datetime]]:
    """The first and last label of as many bars as one answer can have, the newest first."""
    last = now - (now - _EPOCH) % timeframe.length
    while last >= start:
        yield max(start, last - (PAGE - 1) * timeframe.length), last
        last -= PAGE * timeframe.length


def _row(row: Sequence[Any]) -> tuple[Any, ...]:
    label, low, high, first, last, volume = row
    return _EPOCH + timedelta(seconds=label), first, high, low, last, volume
