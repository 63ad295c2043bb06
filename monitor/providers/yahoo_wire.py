"""The wire to Yahoo: yfinance, its failures told in our words.

Every request of yfinance goes through a *session* of ours, which keeps the pace, notes when Yahoo says that it
answered, and raises what a refusal means at once: by itself yfinance would ask twice more with other cookies, and keep
the text of an error for its crumb. A *crumb* is a word that Yahoo wants to be sent back with requests; charts are
served without one too.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import local
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import yfinance
from curl_cffi.requests import Response, Session
from curl_cffi.requests.exceptions import RequestException
from curl_cffi.requests.session import HttpMethod
from yfinance.cache import get_cookie_cache
from yfinance.data import YfData
from yfinance.exceptions import YFPricesMissingError
from yfinance.scrapers.history import PriceHistory

from monitor.core.timeframe import Timeframe
from monitor.errors import ProviderError, RateLimited, UnknownSymbol, Unreachable
from monitor.ports import Instrument
from monitor.providers.chart import Answer
from monitor.providers.pace import TokenBucket
from monitor.providers.yahoo_names import KINDS, MARKETS

_PATIENCE = 15
_MINUTES_AT_ONCE = timedelta(days=7)
_CRUMB = re.compile(r"[\w./\-]{5,32}")
_NOTHING_THERE = "Data doesn't exist for startDate"
_PRICES_AS_THEY_ARE = {
    "auto_adjust": False, "actions": True, "keepna": True, "prepost": False, "repair": False, "timeout": _PATIENCE,
}  # fmt: skip


class _NoChart(Exception):
    """Yahoo's reason for giving no chart of a symbol."""


class Wire:
    """Asks Yahoo for charts; any number of threads may. yfinance is one for the whole process, and so is its cache."""

    def __init__(self, cache: Path, pace: TokenBucket) -> None:
        logging.getLogger("yfinance").setLevel(logging.CRITICAL)
        yfinance.config.debug.hide_exceptions = False
        yfinance.set_tz_cache_location(str(cache))
        self._session = _Session(pace)
        self._yahoo = YfData(session=self._session)
        self._yahoo._crumb = self._yahoo._cookie = None  # if it has any, they are of a session before

    def ask(self, symbol: str, timeframe: Timeframe, start: datetime | None, now: datetime) -> Answer:
        """What Yahoo shows of a symbol from `start` on; None: all there is.

        Raises: UnknownSymbol, RateLimited, Unreachable.
        """
        if timeframe.name != "1m" or start is None or now - start <= _MINUTES_AT_ONCE:
            return self._ask(symbol, timeframe, start, None)
        end = start + _MINUTES_AT_ONCE
        earlier = self._ask(symbol, timeframe, start, end).frame
        # The next part begins with rows of this one, since the first row of any answer is wrong.
        last: datetime = earlier.index[-1].to_pydatetime() if len(earlier) else start
        overlap = last - 2 * timeframe.length
        later = self.ask(symbol, timeframe, overlap if overlap > start else end, now)
        fresh = later.frame[later.frame.index > last] if len(later.frame) else later.frame
        return replace(later, frame=pd.concat([part for part in (earlier, fresh) if len(part)] or [fresh]))

    def _ask(self, symbol: str, timeframe: Timeframe, start: datetime | None, end: datetime | None) -> Answer:
        # A known zone saves yfinance a look-up per symbol. It is for times without one, and there are none here.
        history = PriceHistory(self._yahoo, symbol, "UTC", self._session)
        try:
            return self._answer(symbol, history, _frame(history, timeframe, start, end))
        except _NoChart as refused:
            reason = str(refused)
            if reason.startswith(_NOTHING_THERE):
                return Answer(pd.DataFrame(), self._session.answered_at)
            raise UnknownSymbol(f"Yahoo has no {timeframe} bars of {symbol}: {reason}") from refused
        except RateLimited:
            self._forget()
            raise
        except ProviderError:
            raise
        except RequestException as error:
            raise Unreachable(f"Yahoo cannot be reached: {_without_noise(str(error))}") from error
        except Exception as error:
            raise Unreachable(f"Yahoo gave no sensible answer: {type(error).__name__}: {error}") from error
        finally:
            # yfinance would keep answers about the past for ever, the bad ones too.
            YfData.cache_get.cache_clear()

    def begin(self) -> None:
        """Ask for a crumb again, if there was none."""
        self._session.crumbless = False

    def _answer(self, symbol: str, history: PriceHistory, frame: pd.DataFrame) -> Answer:
        meta = history.get_history_metadata()
        if meta["symbol"].upper() != symbol.upper():
            raise UnknownSymbol(
                f"Yahoo now calls {symbol} {meta['symbol']}", f"write {meta['symbol']} in the watchlist instead"
            )
        market, kind = MARKETS.get(meta.get("exchangeName", "")), KINDS.get(meta.get("instrumentType", ""), "")
        return Answer(
            frame,
            self._session.answered_at,
            Instrument(market, meta.get("currency") or "", kind),
            _instant(meta.get("regularMarketTime")),
            _instant(meta.get("firstTradeDate")),
            _hours(meta),
        )

    def _forget(self) -> None:
        """Come back as a stranger: a ban may hang on the cookie."""
        with self._yahoo._cookie_lock:
            self._yahoo._crumb = self._yahoo._cookie = None
            self._session.cookies.clear()
            get_cookie_cache().store("curlCffi", None)


def _without_noise(said: str) -> str:
    """What curl says went wrong, without how it numbers that and where it explains it."""
    return re.sub(r"^Failed to perform, curl: \(\d+\) | ?See https://curl\.se.*$", "", said).rstrip(". ")


def _hours(meta: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    regular = meta.get("currentTradingPeriod", {}).get("regular", {})
    opens, closes = _instant(regular.get("start")), _instant(regular.get("end"))
    return (opens.astimezone(UTC), closes.astimezone(UTC)) if opens and closes else None


def _frame(history: PriceHistory, timeframe: Timeframe, start: datetime | None, end: datetime | None) -> pd.DataFrame:
    """The rows as yfinance gives them; none where Yahoo has none and no fault to find."""
    span = {"start": start, "end": end} if start else {"period": "max"}
    try:
        return history.history(interval=timeframe.name, **span, **_PRICES_AS_THEY_ARE)
    except YFPricesMissingError as missing:
        if missing.yahoo_reason:
            raise _NoChart(missing.yahoo_reason) from missing
        return pd.DataFrame()


class _Session(Session[Response]):
    """Every request of yfinance goes through here."""

    def __init__(self, pace: TokenBucket) -> None:
        super().__init__(impersonate="chrome")
        self.crumbless = False
        self._pace = pace
        self._here = local()

    @property
    def answered_at(self) -> datetime | None:
        """When Yahoo answered this thread's last question for a chart, by its own clock."""
        at: datetime | None = self._here.answered_at
        return at

    def request(self, method: HttpMethod, url: str, **arguments: Any) -> Response:  # type: ignore[override]  # yfinance passes names
        path = urlsplit(url).path
        wants_crumb = path.endswith("/getcrumb")
        if wants_crumb and self.crumbless:
            raise ConnectionError("Yahoo gave no crumb a moment ago")
        if not self._pace.take():
            raise ProviderError("Yahoo is not asked any more: the provider is closed")
        response = super().request(method, url, **(arguments | {"timeout": _PATIENCE}))
        if "/finance/chart/" in path:
            self._here.answered_at = _date(response)
            _refuse(response)
        elif wants_crumb and not _CRUMB.fullmatch(response.text):
            self.crumbless = True
            raise ConnectionError("Yahoo gave no crumb")
        return response


def _refuse(response: Response) -> None:
    """Raise what a refusal means; only one for want of the right cookie is left to yfinance, which gets another."""
    status = response.status_code
    if status < 400 or status in {401, 403}:
        return
    if status == 429:
        wait = response.headers.get("retry-after", "")
        raise RateLimited(
            "Yahoo asks to be left alone (429)",
            "lower requests_per_second if this happens again",
            timedelta(seconds=int(wait)) if wait.isdecimal() else None,
        )
    if status < 500 and (reason := _reason(response)):
        raise _NoChart(reason)
    raise Unreachable(f"Yahoo answers with status {status}")


def _reason(response: Response) -> str:
    try:
        return str(json.loads(response.content)["chart"]["error"]["description"])
    except (ValueError, LookupError, TypeError):
        return ""


def _date(response: Response) -> datetime | None:
    try:
        return parsedate_to_datetime(response.headers.get("date", "")).replace(tzinfo=UTC)
    except ValueError:
        return None


def _instant(told: object) -> datetime | None:
    return told.to_pydatetime() if isinstance(told, pd.Timestamp) else None
