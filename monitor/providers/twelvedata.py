"""Bars of shares of the world, currencies and crypto, from the API of Twelve Data: one symbol and one credit a request.

Shares are named by their code and the exchange of their suffix (`AZN.L` is AZN in London), pairs with a slash. Days of
currencies go from midnight to midnight in UTC.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from monitor.core.bars import RAW_SCHEMA
from monitor.core.timeframe import Timeframe
from monitor.errors import ProviderError, RateLimited, UnknownSymbol, Unreachable
from monitor.markets import FX, MARKETS, guess_market
from monitor.ports import Fetched, Instrument
from monitor.providers import TwelveDataSettings
from monitor.providers.pace import TokenBucket
from monitor.providers.rest import Answer, Api, Known, Round, bars_of, history, secret, starts

URL = "https://api.twelvedata.com"
PAGE = 5000

_INTERVALS = {"1m": "1min", "5m": "5min", "15m": "15min", "1d": "1day"}
_REAL_TIME = {"XNYS", "24/7", FX}
_DELAY = timedelta(minutes=30)
# What Twelve Data calls an exchange, where its market has another name here.
_EXCHANGES = {"BO": "XBOM", "KQ": "XKOS", "NS": "XNSE", "SZ": "XSHE", "T": "XJPX", "TWO": "ROCO", "V": "XTSX"}
_MARKETS = {
    **dict.fromkeys(("ARCX", "BATS", "IEXG", "XASE", "XNAS", "XNCM", "XNGS", "XNMS", "XNYS"), "XNYS"),
    "BMEX": "XMAD", "MTAA": "XMIL", "ROCO": "XTAI", "XJPX": "XTKS", "XKOS": "XKRX", "XNSE": "XBOM", "XSHE": "XSHG",
    "XTSX": "XTSE",
}  # fmt: skip
_KINDS = {
    "Common Stock": "equity", "Depositary Receipt": "equity", "Digital Currency": "crypto", "ETF": "etf",
    "Index": "index", "Physical Currency": "currency", "Preferred Stock": "equity", "REIT": "equity",
}  # fmt: skip
_EVER = datetime(1900, 1, 1, tzinfo=UTC)
_CURRENCIES = re.compile(r"([A-Z]{3})?([A-Z]{3})=X")
_CRYPTO = re.compile(r"([A-Z0-9]{1,20})-([A-Z]{3,5})")
_SHARE = re.compile(r"([A-Z0-9]{1,12}(?:-[A-Z]{1,2})?)(?:\.([A-Z]{1,3}))?")


class TwelveDataProvider:
    """Shares, currencies and crypto of Twelve Data, at most the newest 5000 bars.

    Raises: ConfigError.
    """

    name = "twelvedata"
    native = frozenset(_INTERVALS)
    scarce = True

    def __init__(self, settings: TwelveDataSettings) -> None:
        key = secret(self.name, "key", settings.key, settings.key_file)
        # A burst and what comes back after it lie together in any minute, and that minute must not cost more.
        half = max(settings.credits_per_minute // 2, 1)
        pace = TokenBucket(settings.credits_per_minute / 120, burst=half)
        self._api = Api("Twelve Data", settings.url or URL, pace, {"authorization": f"apikey {key}"})
        self.batch = min(settings.credits_per_minute, 50)

    def lag(self, market: str, timeframe: Timeframe) -> timedelta:
        """Half an hour where it is not known to have prices in real time; its day of currencies ends in UTC."""
        if market == FX and not timeframe.intraday:
            return timedelta(hours=1)
        if market in _REAL_TIME:
            return timedelta(0)
        return _DELAY if timeframe.intraday else _DELAY / 2

    def lookback(self, timeframe: Timeframe) -> timedelta | None:
        return history(timeframe) if timeframe.intraday else None

    def close(self) -> None:
        self._api.close()

    def fetch(self, since: Mapping[str, datetime | None], timeframe: Timeframe, now: datetime) -> Fetched:
        """The bars of each symbol labelled at or after its `since`, the newest 5000 at most."""
        asked = starts(since, _EVER)
        return Round().one_by_one(asked, lambda symbol, start: self._know(symbol, start, timeframe, now))

    def _know(self, symbol: str, start: datetime, timeframe: Timeframe, now: datetime) -> Known:
        named = _named(symbol, timeframe)
        if start > now:
            return Known(pl.DataFrame(schema=RAW_SCHEMA), now)
        # A day is of the exchange; in UTC it might be the day before.
        clock = {"timezone": "UTC"} if timeframe.intraday else {}
        params = {"interval": _INTERVALS[timeframe.name], "outputsize": str(PAGE), "adjust": "splits", "order": "ASC"}
        begin = {"start_date": f"{start:%Y-%m-%dT%H:%M:%S}" if timeframe.intraday else f"{start:%Y-%m-%d}"}
        begin = begin if start > _EVER else {}
        answer = self._api.get("/time_series", named | params | clock | begin, now)
        with self._api.understood():
            meta, values = self._told(answer, symbol, now)
            bars = bars_of(symbol, [_row(value) for value in values])
            instrument = _instrument(meta) if meta else None
        if instrument and instrument.market == FX and not timeframe.intraday:
            bars = bars.filter(pl.col("ts").dt.weekday() <= 5)  # the two hours of a Sunday are no day
        return Known(bars, answer.moment, instrument)

    def _told(self, answer: Answer, symbol: str, now: datetime) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What a symbol is, and its rows. The code of an error says more than the HTTP status beside it."""
        body = answer.body if isinstance(answer.body, dict) else {}
        if answer.status == 200 and body.get("status") != "error":
            return body["meta"], body["values"]
        message = str(body.get("message", ""))
        refused = replace(answer, status=int(body.get("code") or answer.status))
        if refused.status == 400 and message.startswith("No data is available"):
            return {}, []
        raise self._refusal(refused, symbol, message, now)

    def _refusal(self, refused: Answer, symbol: str, message: str, now: datetime) -> ProviderError:
        if refused.status >= 500:
            return Unreachable(f"Twelve Data has failed: code {refused.status}")
        if refused.status == 401:
            return self._api.refusal(refused, "check `key` or `key_file`")
        if refused.status in (403, 404) and "available starting with" in message:
            return UnknownSymbol(f"{symbol} is not in your plan of Twelve Data", "a larger plan has it")
        if refused.status == 404 or (refused.status == 400 and "symbol" in message):
            return UnknownSymbol(f"Twelve Data has no {symbol}")
        refusal = self._api.refusal(refused)
        if isinstance(refusal, RateLimited) and refusal.retry_after is None:
            refusal.retry_after = _until_more_credits(now, day="for the day" in message)
        return refusal


def _named(symbol: str, timeframe: Timeframe) -> dict[str, str]:
    """The parameters that name a symbol."""
    if timeframe.name not in _INTERVALS:
        raise UnknownSymbol(f"Twelve Data has no {timeframe} bars that begin with the session")
    market = guess_market(symbol)
    if market == FX and (pair := _CURRENCIES.fullmatch(symbol)):
        return {"symbol": f"{pair[1] or 'USD'}/{pair[2]}"}
    if market == "24/7" and (pair := _CRYPTO.fullmatch(symbol)):
        return {"symbol": f"{pair[1]}/{pair[2]}"}
    share = _SHARE.fullmatch(symbol)
    if share and share[2] is None and market == "XNYS":
        return {"symbol": share[1].replace("-", "."), "country": "United States"}
    if share and market not in ("XNYS", "24/7"):  # New York's is also the guess at an unknown suffix
        return {"symbol": share[1].replace("-", "."), "mic_code": _EXCHANGES.get(share[2], market)}
    raise UnknownSymbol(f"Twelve Data has no {symbol!r}, but shares, currencies (EURUSD=X) and crypto (BTC-USD)")


def _instrument(meta: dict[str, Any]) -> Instrument:
    kind = _KINDS.get(meta.get("type", ""), "")
    if kind in ("currency", "crypto"):
        return Instrument(FX if kind == "currency" else "24/7", meta["symbol"].rpartition("/")[2], kind)
    exchange = meta.get("mic_code", "")
    return Instrument(_MARKETS.get(exchange, exchange if exchange in MARKETS else None), meta.get("currency", ""), kind)


def _row(value: dict[str, Any]) -> tuple[Any, ...]:
    label = datetime.fromisoformat(value["datetime"]).replace(tzinfo=UTC)
    return label, value["open"], value["high"], value["low"], value["close"], value.get("volume")


def _until_more_credits(now: datetime, *, day: bool) -> timedelta:
    """Credits come back with each minute and each day of UTC."""
    span = timedelta(days=1) if day else timedelta(minutes=1)
    return span - (now - datetime(1970, 1, 1, tzinfo=UTC)) % span
