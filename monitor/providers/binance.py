"""Bars of crypto from the spot market of Binance. Each of its rows carries the time at which it closes.

Binance has tethers where others have dollars: `BTC-USD` is its BTCUSDT. Bars are counted from 00:00 UTC.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from monitor.core.bars import RAW_SCHEMA
from monitor.core.timeframe import Timeframe
from monitor.errors import ProviderError, RateLimited, UnknownSymbol, Unreachable
from monitor.markets import guess_market
from monitor.ports import Fetched, Instrument
from monitor.providers import BinanceSettings
from monitor.providers.pace import TokenBucket
from monitor.providers.rest import Answer, Api, Known, Round, bars_of, history, starts

URL = "https://api.binance.com"
PAGE = 1000

_PAIR = re.compile(r"([A-Z0-9]{1,20})-([A-Z]{3,5})")
_NO_SUCH_SYMBOL = {-1100, -1121}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class BinanceProvider:
    """Crypto of Binance, at most 5000 bars or 10 years back."""

    name = "binance"
    native = frozenset({"1m", "5m", "15m", "30m", "1h", "2h", "4h", "1d"})
    batch = 50
    scarce = True

    def __init__(self, settings: BinanceSettings) -> None:
        self._api = Api("Binance", settings.url or URL, TokenBucket(10, burst=10))

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
        pair, quote = _pair(symbol, timeframe)
        parts, moment = [pl.DataFrame(schema=RAW_SCHEMA)], now
        for answer in self._pages(pair, start, timeframe, now):
            with self._api.understood():
                parts.append(bars_of(symbol, [_row(row) for row in answer.body]))
            moment = min(moment, answer.moment)
        return Known(pl.concat(parts), moment, Instrument("24/7", quote, "crypto"))

    def _pages(self, pair: str, start: datetime, timeframe: Timeframe, now: datetime) -> Iterator[Answer]:
        """The answers that together have all rows from `start` to `now`, oldest first."""
        first, last = (-(-(moment - _EPOCH) // _MILLISECOND) for moment in (start, now))
        while first <= last:
            params = {"symbol": pair, "interval": timeframe.name, "limit": str(PAGE)}
            answer = self._api.get("/api/v3/klines", params | {"startTime": str(first), "endTime": str(last)}, now)
            if answer.status != 200:
                raise self._refusal(answer, pair)
            yield answer
            with self._api.understood():
                if len(answer.body) < PAGE:
                    return
                after = answer.body[-1][6] + 1  # a row closes a millisecond before the next one opens
            if after <= first:
                raise Unreachable("Binance gave the same rows again")
            first = after

    def _refusal(self, answer: Answer, pair: str) -> ProviderError:
        code = answer.body.get("code") if isinstance(answer.body, dict) else None
        if code in _NO_SUCH_SYMBOL:
            return UnknownSymbol(f"Binance has no pair {pair}")
        if answer.status == 451:
            return self._api.refusal(
                answer, "it serves your country from another address; set `url`, such as https://api.binance.us"
            )
        if answer.status == 403:  # its firewall, which counts requests
            return RateLimited("Binance asks to be left alone: HTTP 403", "", answer.wait)
        return self._api.refusal(answer)


def _pair(symbol: str, timeframe: Timeframe) -> tuple[str, str]:
    """How Binance writes a pair, and the currency that it is quoted in."""
    if timeframe.name not in BinanceProvider.native:
        raise UnknownSymbol(f"Binance has no {timeframe} bars")
    written = _PAIR.fullmatch(symbol)
    if not written or guess_market(symbol) != "24/7":
        raise UnknownSymbol(f"Binance has no {symbol!r}, but crypto, written like BTC-USD")
    quote = "USDT" if written[2] == "USD" else written[2]
    return written[1] + quote, quote


def _row(row: Sequence[Any]) -> tuple[Any, ...]:
    label, first, high, low, last, volume = row[:6]
    return _EPOCH + label * _MILLISECOND, first, high, low, last, volume
