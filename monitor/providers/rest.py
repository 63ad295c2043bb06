"""What providers over plain HTTP share: the asking of an API, and the gathering of a fetch.

An *answer* is what an API said to one request, as JSON; its *moment* is when it was true: the time of the server that
gave it, or ours where that is earlier. A *round* is one fetch under way: groups of symbols are asked for in turn until
the API refuses to go on or cannot be reached five times in a row; the groups after that have the same failure.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError
from pydantic import SecretStr

from monitor.core.adjust import Split
from monitor.core.bars import RAW_SCHEMA, violations
from monitor.core.timeframe import Timeframe
from monitor.errors import BarwatchError, ConfigError, ProviderError, RateLimited, UnknownSymbol, Unreachable
from monitor.ports import Fetched, Instrument
from monitor.providers.pace import TokenBucket

HISTORY_BARS = 5000
HISTORY_DAYS = timedelta(days=3653)
LONGEST_WAIT = timedelta(days=1)
IN_A_ROW = 5
EXCERPT_LENGTH = 160

_NOT_IN_A_HEADER = re.compile(r"[^!-~]")


@dataclass(frozen=True)
class Answer:
    """What an API answered; `body` is None where it was no JSON, `wait` how long it asks to be left alone."""

    status: int
    body: Any
    moment: datetime
    wait: timedelta | None = None


class Api:
    """One API over HTTP, asked at its pace. `secrets` are headers by name; they stand in no error.

    An answer other than JSON, and one that says that the server has failed, is none.
    """

    def __init__(self, name: str, url: str, pace: TokenBucket, secrets: Mapping[str, str] | None = None) -> None:
        from monitor.fetching import MarketClient  # it loads slowly

        self.name = name
        self._url = url.rstrip("/")
        self._pace = pace
        self._secrets = secrets or {}
        self._client = MarketClient()

    def get(self, path: str, params: Mapping[str, str], now: datetime) -> Answer:
        """What the API says to a request, be it a refusal.

        Raises: Unreachable.
        """
        if not self._pace.take():
            raise Unreachable(f"{self.name} is not asked any more: it was closed")
        headers = {"accept": "application/json", "user-agent": f"barwatch/{version('barwatch')}", **self._secrets}
        reply = self._client.get(self._url + path, params, headers)
        body = _read_json(reply.body)
        status = reply.status_code
        if status >= 500 or 300 <= status < 400 or status == 408 or (status < 300 and body is None):
            kind = "" if body is not None else ", which is not JSON"
            raise Unreachable(f"{self.name} gave no sensible answer: HTTP {status}{kind}")
        moment = min(now, _instant(reply.headers.get("date", "")) or now)
        return Answer(status, body, moment, _wait(reply.headers, now))

    def refusal(self, answer: Answer, hint: str = "") -> ProviderError:
        """What an answer that is none of the expected ones is: a limit, or a refusal for good."""
        said = self._excerpt(answer.body)
        if answer.status in (418, 429):
            return RateLimited(f"{self.name} asks to be left alone: HTTP {answer.status}{said}", hint, answer.wait)
        return ProviderError(f"{self.name} refuses the request: HTTP {answer.status}{said}", hint)

    def close(self) -> None:
        self._pace.close()
        self._client.close()

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Around the reading of an answer: one of another form than it is documented to have is no answer."""
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, PolarsError) as error:
            raise Unreachable(f"{self.name} gave an answer of an unknown form: {type(error).__name__}") from error

    def _excerpt(self, body: Any) -> str:
        said = str(body.get("message") or body.get("msg") or "") if isinstance(body, dict) else ""
        for value in sorted(self._secrets.values(), key=len, reverse=True):
            said = said.replace(value.rpartition(" ")[2], "[redacted]")
        said = "".join(letter if letter.isprintable() else " " for letter in said)[:EXCERPT_LENGTH]
        return f" ({said})" if said else ""


@dataclass(frozen=True)
class Known:
    """What an API knew of one symbol at a moment."""

    bars: pl.DataFrame
    moment: datetime
    instrument: Instrument | None = None


@dataclass
class Round:
    """A fetch under way."""

    as_of: dict[str, datetime] = field(default_factory=dict)
    failures: dict[str, BarwatchError] = field(default_factory=dict)
    splits: dict[str, tuple[Split, ...]] = field(default_factory=dict)
    instruments: dict[str, Instrument] = field(default_factory=dict)
    seen: dict[str, datetime] = field(default_factory=dict)
    _bars: dict[str, pl.DataFrame] = field(default_factory=dict)

    def go(self, groups: Iterable[Sequence[str]], ask: Callable[[Sequence[str]], None]) -> Fetched:
        """All that asking for each group adds to the round."""
        unreachable = 0
        given_up = False
        failure: ProviderError | None = None
        for group in groups:
            if not given_up:
                failure = self._ask(group, ask)
                if failure is None:
                    unreachable = 0
                elif isinstance(failure, Unreachable):
                    unreachable += 1
                given_up = unreachable >= IN_A_ROW or not isinstance(failure, Unreachable | UnknownSymbol | None)
            if failure is not None:
                self.failures |= dict.fromkeys(set(group) - self.as_of.keys() - self.failures.keys(), failure)
        return self._fetched()

    def one_by_one(self, starts: Mapping[str, datetime], know: Callable[[str, datetime], Known]) -> Fetched:
        """All symbols, each by a request of its own."""

        def ask(group: Sequence[str]) -> None:
            [symbol] = group
            self.add(symbol, starts[symbol], know(symbol, starts[symbol]))

        return self.go([[symbol] for symbol in sorted(starts)], ask)

    def add(self, symbol: str, start: datetime, known: Known) -> None:
        """Take up a symbol: the sound ones of its bars that had begun at that moment."""
        bars = sound(known.bars.filter(pl.col("ts").is_between(start, known.moment)))
        self.as_of[symbol] = known.moment
        self._bars[symbol] = bars
        if known.instrument:
            self.instruments[symbol] = known.instrument
        if not bars.is_empty():
            self.seen[symbol] = bars["ts"][-1]

    def _ask(self, group: Sequence[str], ask: Callable[[Sequence[str]], None]) -> ProviderError | None:
        try:
            ask(group)
        except ProviderError as failure:
            return failure
        return None

    def _fetched(self) -> Fetched:
        bars = pl.concat([pl.DataFrame(schema=RAW_SCHEMA), *(self._bars[symbol] for symbol in sorted(self._bars))])
        return Fetched(bars, self.as_of, self.failures, self.splits, self.instruments, seen=self.seen)


def bars_of(symbol: str, rows: Iterable[Sequence[Any]]) -> pl.DataFrame:
    """A raw bar frame of rows of label, open, high, low, close and volume; what is no number is missing."""
    table = [(symbol, label, *map(_number, values)) for label, *values in rows]
    return pl.DataFrame(table, RAW_SCHEMA, orient="row")


def starts(since: Mapping[str, datetime | None], oldest: datetime) -> dict[str, datetime]:
    """From which label on each symbol is asked for: its `since`, but not before the oldest that is wanted."""
    return {symbol: max(start or oldest, oldest) for symbol, start in since.items()}


def sound(bars: pl.DataFrame) -> pl.DataFrame:
    """The bars of one symbol in order, without those that break a rule; of two with one label the later given."""
    ordered = bars.unique("ts", keep="last", maintain_order=True).sort("ts")
    broken = sorted({violation.row for violation in violations(ordered)})
    return ordered.with_row_index().filter(~pl.col("index").is_in(broken)).drop("index") if broken else ordered


def history(timeframe: Timeframe) -> timedelta:
    """How far back is asked at most of a market that never closes: 10 years, or 5000 bars of less than a day."""
    return HISTORY_BARS * timeframe.length if timeframe.intraday else HISTORY_DAYS


def secret(name: str, key: str, value: SecretStr | None, path: Path | None) -> str:
    """A secret as it stands in the settings or in the file that they name.

    Raises: ConfigError.
    """
    if path is None:
        return value.get_secret_value() if value else ""
    try:
        text = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"provider {name}: {key}_file {path} cannot be read: {reason}") from error
    if not text or _NOT_IN_A_HEADER.search(text):
        raise ConfigError(f"provider {name}: {key}_file {path} must hold one word of ASCII letters and signs")
    return text


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError):
        return None


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (RecursionError, ValueError):
        return None


def _instant(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (OverflowError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _wait(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long the headers ask to wait: seconds or a date of Retry-After, else the reset of a count of requests."""
    after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
    if re.fullmatch(r"[0-9]{1,9}", after):
        wait = timedelta(seconds=int(after))
    elif moment := _instant(after):
        wait = moment - now
    elif re.fullmatch(r"[0-9]{1,11}", reset):
        wait = timedelta(seconds=int(reset) - int(now.timestamp()))
    else:
        return None
    return min(wait, LONGEST_WAIT) if wait > timedelta(0) else None
