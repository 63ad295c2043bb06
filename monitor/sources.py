"""Sources: how the bars of a timeframe are had.

Asked of a provider that has them; *built* from smaller bars, where those are watched anyway or the provider has no
others; or, when the provider of a series fails for long, had whole from the next one: a series never mixes providers.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from monitor.breaker import Breaker
from monitor.core.bars import BAR_SCHEMA, INSTANT, RAW_SCHEMA
from monitor.core.resample import resample
from monitor.core.timeframe import TIMEFRAMES, Timeframe
from monitor.errors import BarwatchError, RateLimited, Unreachable
from monitor.ports import QUIET, Fetched, Provider
from monitor.sessions import Sessions
from monitor.stores.bars import BarStore
from monitor.stores.breakers import Breakers

SWITCH_AFTER = timedelta(minutes=30)


@dataclass(frozen=True)
class Asked:
    """What is wanted: bars of a timeframe, of each symbol since a label (None: all there are), and their markets."""

    timeframe: Timeframe
    since: Mapping[str, datetime | None]
    markets: Mapping[str, str]
    now: datetime

    def only(self, since: Mapping[str, datetime | None]) -> "Asked":
        return replace(self, since=since)


@dataclass(frozen=True)
class Stored:
    """What sources use of a store: its bars, how providers fared, the cursors of a timeframe by symbol.

    `smaller` has for a timeframe and symbol the smaller watched timeframe that it is built from.
    """

    bars: BarStore
    breakers: Breakers
    cursors: Callable[[str], Mapping[str, datetime]]
    smaller: Mapping[tuple[str, str], Timeframe]


class Sources:
    """Some providers, the first one preferred; without a store nothing outlives the process."""

    def __init__(
        self, providers: Sequence[Provider], sessions: Callable[[str], Sessions], stored: Stored | None = None
    ) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._sessions = sessions
        self._stored = stored
        self.breakers = {name: Breaker(name, stored.breakers if stored else None) for name in self._providers}

    @property
    def batch(self) -> int:
        """How many symbols are worth asking for at once."""
        return min(provider.batch for provider in self._providers.values())

    def lag(self, market: str, timeframe: Timeframe, origin: str = "") -> timedelta:
        """How much later than the market the provider of a series knows its bars."""
        provider = self._providers.get(origin) or next(iter(self._providers.values()))
        return provider.lag(market, timeframe)

    def lookback(self, timeframe: Timeframe) -> timedelta | None:
        """How far back the preferred provider has bars."""
        provider = next(iter(self._providers.values()))
        return provider.lookback(_asked_as(provider, timeframe))

    def close(self) -> None:
        for provider in self._providers.values():
            provider.close()

    def fetch(self, asked: Asked, origins: Mapping[str, str]) -> Fetched:
        """The bars wanted, from the provider of each series; a series that changes provider is given whole.

        Every symbol of `as_of` is in `sources`.
        """
        fetched = self._fetch(asked, origins)
        down = {
            symbol: None
            for symbol, failure in fetched.failures.items()
            if isinstance(failure, Unreachable | RateLimited) and self._has_another(origins.get(symbol), asked.now)
        }
        again = self._fetch(asked.only(down), origins) if down else fetched
        failures = {symbol: failure for symbol, failure in fetched.failures.items() if symbol not in again.as_of}
        return replace(_merged([fetched, again]), failures=failures) if down else fetched

    def _has_another(self, origin: str | None, now: datetime) -> bool:
        """Whether a provider that has just failed is one to be replaced now."""
        provider, whole = self._choose(origin, now)
        return provider is not None and whole

    def _fetch(self, asked: Asked, origins: Mapping[str, str]) -> Fetched:
        built: dict[Timeframe, dict[str, datetime | None]] = {}
        chosen: dict[tuple[str, bool], dict[str, datetime | None]] = {}
        failures: dict[str, BarwatchError] = {}
        for symbol, since in asked.since.items():
            smaller = self._stored and self._stored.smaller.get((asked.timeframe.name, symbol))
            provider, whole = self._choose(origins.get(symbol), asked.now)
            if provider is None:
                failures[symbol] = self._resting(origins.get(symbol))
            elif smaller and not whole and (begin := self._stored_since(smaller, symbol, since, origins)):
                built.setdefault(smaller, {})[symbol] = begin
            else:
                chosen.setdefault((provider, whole), {})[symbol] = None if whole else since
        parts = [self._ask(asked.only(since), provider) for (provider, _), since in chosen.items()]
        if self._stored:
            parts += [
                self._build(asked.only(since), smaller, self._stored, origins) for smaller, since in built.items()
            ]
        return _merged([*parts, Fetched(pl.DataFrame(schema=RAW_SCHEMA), {}, failures)])

    def ask_another(self, asked: Asked, origin: str) -> Fetched | None:
        """The same from the next provider that can be asked, for a second opinion; None where there is none."""
        for name, breaker in self.breakers.items():
            if name != origin and breaker.lets_through(asked.now):
                return self._ask(asked, name)
        return None

    def _choose(self, origin: str | None, now: datetime) -> tuple[str | None, bool]:
        """The provider to ask, and whether for the whole history because the series changes to it."""
        ready = [name for name, breaker in self.breakers.items() if breaker.lets_through(now)]
        first = next(iter(self._providers))
        if origin is None or origin not in self._providers:
            return (ready[0] if ready else None), origin is not None
        if origin != first and first in ready and self.breakers[first].healthy(now):
            return first, True
        if origin in ready:
            return origin, False
        failing_since = self.breakers[origin].record.failing_since
        if ready and failing_since and now - failing_since >= SWITCH_AFTER:
            return ready[0], True
        return None, False

    def _resting(self, origin: str | None) -> BarwatchError:
        breaker = self.breakers.get(origin or "") or next(iter(self.breakers.values()))
        return breaker.failure()

    def _stored_since(
        self, smaller: Timeframe, symbol: str, since: datetime | None, origins: Mapping[str, str]
    ) -> datetime | None:
        """From when on a series can be built of stored smaller bars; None where they do not reach back to `since`.

        A series that has bars is never asked for again as a whole: it is built of all the smaller ones.
        """
        if self._stored is None or symbol not in origins:
            return None
        if self._stored.bars.origin(smaller.name, symbol) != origins[symbol]:
            return None
        oldest = self._stored.bars.oldest_label(smaller.name, symbol)
        return (since or oldest) if oldest and (since is None or oldest <= since) else None

    def _ask(self, asked: Asked, name: str) -> Fetched:
        """What a provider has, built from its smaller bars where it has none of that length; its breaker learns."""
        provider = self._providers[name]
        timeframe = _asked_as(provider, asked.timeframe)
        fetched = provider.fetch(asked.since, timeframe, asked.now)
        self.breakers[name].note(fetched, asked.now)
        if timeframe != asked.timeframe:
            fetched = self._larger(fetched, timeframe, asked)
        return replace(fetched, sources=dict.fromkeys(fetched.as_of, name))

    def _build(self, asked: Asked, smaller: Timeframe, store: Stored, origins: Mapping[str, str]) -> Fetched:
        """The bars made of the smaller ones that have been processed without a hole."""
        cursors = store.cursors(smaller.name)
        since = {symbol: label for symbol, label in asked.since.items() if label is not None}
        stored = store.bars.since(smaller.name, since)
        upto = pl.DataFrame(
            [(symbol, cursors[symbol]) for symbol in since if symbol in cursors],
            {"symbol": pl.String(), "cursor": INSTANT},
            orient="row",
        )
        stored = stored.join(upto, on="symbol", maintain_order="left").filter(pl.col("ts") <= pl.col("cursor"))
        made, as_of = self._resampled(stored.select(*BAR_SCHEMA), asked)
        made = self._since_begun(made, asked, store)
        known = {symbol: as_of.get(symbol, since[symbol]) for symbol in since}
        return Fetched(made, known, seen=known, sources={symbol: origins[symbol] for symbol in since})

    def _since_begun(self, made: pl.DataFrame, asked: Asked, store: Stored) -> pl.DataFrame:
        """Built bars that closed after their series had begun: those before are the provider's own, which differ.

        A provider's own bar may have the closing auction in it, which smaller ones lack.
        """
        parts = [made.clear()]
        for (symbol,), bars in made.group_by("symbol", maintain_order=True):
            began = store.bars.began(asked.timeframe.name, str(symbol))
            ends = self._sessions(asked.markets[str(symbol)]).closed_at(bars["ts"], asked.timeframe)
            parts.append(bars.filter(ends > began) if began else bars)
        return pl.concat(parts)

    def _larger(self, fetched: Fetched, smaller: Timeframe, asked: Asked) -> Fetched:
        known = pl.DataFrame(
            [(symbol, asked.markets[symbol], as_of) for symbol, as_of in fetched.as_of.items()],
            {"symbol": pl.String(), "market": pl.String(), "known": INSTANT},
            orient="row",
        )
        bars = fetched.bars.join(known, on="symbol", maintain_order="left")
        closed = [pl.DataFrame(schema=BAR_SCHEMA)]
        for (market,), part in bars.group_by("market", maintain_order=True):
            ends = self._sessions(str(market)).closed_at(part["ts"], smaller)
            closed.append(
                part.with_columns(closed_at=ends).filter(pl.col("closed_at") <= pl.col("known")).select(*BAR_SCHEMA)
            )
        made, as_of = self._resampled(pl.concat(closed).sort("symbol", "ts"), asked)
        known_until = {symbol: as_of.get(symbol, moment) for symbol, moment in fetched.as_of.items()}
        return replace(fetched, bars=made, as_of=known_until, quiet=pl.DataFrame(schema=QUIET))

    def _resampled(self, bars: pl.DataFrame, asked: Asked) -> tuple[pl.DataFrame, dict[str, datetime]]:
        """Larger bars, and the close of each symbol's newest smaller one: no larger bar is known to have closed later.

        A first bar that the smaller ones do not reach back to the beginning of is left out.
        """
        made = [pl.DataFrame(schema=RAW_SCHEMA)]
        for market in sorted({asked.markets[symbol] for symbol in bars["symbol"].unique()}):
            part = bars.filter(pl.col("symbol").is_in([s for s, of in asked.markets.items() if of == market]))
            reach = 2 * asked.timeframe.length
            first, last = part["ts"].min(), part["ts"].max()
            grid = self._sessions(market).grid(asked.timeframe, first - reach, last)  # type: ignore[operator, arg-type]
            made.append(resample(part, grid))
        begins = bars.group_by("symbol").agg(
            pl.col("ts").min().alias("begins"), pl.col("closed_at").max().alias("ends")
        )
        larger = pl.concat(made).sort("symbol", "ts").join(begins, on="symbol", maintain_order="left")
        whole = larger.filter(pl.col("ts") >= pl.col("begins")).select(*RAW_SCHEMA)
        return whole, dict(begins.select("symbol", "ends").iter_rows())


def _asked_as(provider: Provider, timeframe: Timeframe) -> Timeframe:
    """The timeframe that a provider is asked for: its own, or the largest of its own that another is built from."""
    if timeframe.name in provider.native:
        return timeframe
    return max(
        TIMEFRAMES[name]
        for name in provider.native
        if TIMEFRAMES[name] < timeframe and timeframe.length % TIMEFRAMES[name].length == timedelta(0)
    )


def smaller_watched(
    provider: Provider, watched: Mapping[Timeframe, Collection[str]]
) -> dict[tuple[str, str], Timeframe]:
    """For each larger intraday timeframe and symbol the smallest watched timeframe that it can be built from."""
    found = {}
    intraday = sorted(timeframe for timeframe in watched if timeframe.intraday)
    for larger in intraday:
        for symbol in watched[larger]:
            fitting = [
                smaller
                for smaller in intraday
                if smaller < larger
                and symbol in watched[smaller]
                and larger.length % smaller.length == timedelta(0)
                and smaller.name in provider.native
            ]
            if provider.scarce and fitting:
                found[larger.name, symbol] = fitting[0]
    return found


def _merged(parts: Sequence[Fetched]) -> Fetched:
    def joined(name: str) -> dict[str, Any]:
        return {symbol: value for part in parts for symbol, value in getattr(part, name).items()}

    return Fetched(
        bars=pl.concat(part.bars for part in parts).sort("symbol", "ts"),
        quiet=pl.concat(part.quiet for part in parts),
        as_of=joined("as_of"),
        failures=joined("failures"),
        splits=joined("splits"),
        instruments=joined("instruments"),
        vouched={symbol for part in parts for symbol in part.vouched},
        seen=joined("seen"),
        hours=joined("hours"),
        told_at=next((part.told_at for part in parts if part.told_at), None),
        sources=joined("sources"),
    )
