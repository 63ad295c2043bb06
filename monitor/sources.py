"""Sources: how the bars of a timeframe are had.

Asked of a provider that has them; *built* from smaller bars, where those are watched anyway or the provider has no
others; or, when the provider of a series fails for long, had whole from the next one: a series never mixes providers.
After a day it returns to the first provider, if that can give it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from monitor.breaker import Breaker
from monitor.building import Asked, Builder
from monitor.core.bars import BAR_SCHEMA, INSTANT, RAW_SCHEMA
from monitor.core.timeframe import TIMEFRAMES, Timeframe
from monitor.errors import BarwatchError, RateLimited, Unreachable
from monitor.ports import Fetched, Provider
from monitor.sessions import Sessions
from monitor.stores.bars import BarStore
from monitor.stores.breakers import Breakers

SWITCH_AFTER = timedelta(minutes=30)
RETURN_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Stored:
    """What sources use of a store: its bars, how providers fared, the cursors of a timeframe by symbol.

    `smaller` has for a timeframe and symbol the smaller watched timeframe that it is built from.
    """

    bars: BarStore
    breakers: Breakers
    cursors: Callable[[str, Collection[str]], Mapping[str, datetime]]
    smaller: Mapping[tuple[str, str], Timeframe]


class Sources:
    """Some providers, the first one preferred; without a store nothing outlives the process."""

    def __init__(
        self, providers: Sequence[Provider], sessions: Callable[[str], Sessions], stored: Stored | None = None
    ) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self.first = next(iter(self._providers))
        self._sessions = sessions
        self._stored = stored
        self._builder = Builder(sessions)
        self._not_before: dict[tuple[str, str], datetime] = {}
        self.breakers = {name: Breaker(name, stored.breakers if stored else None) for name in self._providers}

    @property
    def batch(self) -> int:
        """How many symbols are worth asking for at once."""
        return self._providers[self.first].batch

    def lag(self, market: str, timeframe: Timeframe, origin: str = "") -> timedelta:
        """How much later than the market the provider of a series knows its bars."""
        provider = self._providers.get(origin) or self._providers[self.first]
        return provider.lag(market, timeframe)

    def lookback(self, timeframe: Timeframe, origin: str) -> timedelta | None:
        """How far back the provider of a series has bars; None for all there are."""
        provider = self._providers.get(origin) or self._providers[self.first]
        return provider.lookback(_asked_as(provider, timeframe))

    def close(self) -> None:
        for provider in self._providers.values():
            provider.close()

    def fetch(self, asked: Asked, origins: Mapping[str, str]) -> Fetched:
        """The bars wanted, from the provider of each series; a series that changes provider is given whole.

        A provider that fails for long is replaced in the same fetch, and one that a series was to return to and that
        has nothing of it by the one that it is from. Every symbol of `as_of` is in `sources`.
        """
        returning = {symbol for symbol in asked.since if self._returns(asked, symbol, origins.get(symbol))}
        fetched = self._fetch(asked, origins)
        for symbol in returning & fetched.failures.keys():
            self.keep_origin(asked.timeframe, symbol, asked.now)
        again = {
            symbol: asked.since[symbol]
            for symbol, failure in fetched.failures.items()
            if symbol in returning or self._has_another(asked, symbol, origins.get(symbol), failure)
        }
        if not again:
            return fetched
        second = self._fetch(asked.only(again), origins)
        failures = {symbol: failure for symbol, failure in fetched.failures.items() if symbol not in second.as_of}
        return replace(_merged([fetched, second]), failures=failures | dict(second.failures))

    def keep_origin(self, timeframe: Timeframe, symbol: str, now: datetime) -> None:
        """Leave a series for another day where it is: the first provider cannot give it."""
        self._not_before[timeframe.name, symbol] = now + RETURN_AFTER

    def _returns(self, asked: Asked, symbol: str, origin: str | None) -> bool:
        """Whether a series may go back to the first provider now."""
        if self._stored is None or origin not in self._providers or origin == self.first:
            return False
        began = self._stored.bars.began(asked.timeframe.name, symbol)
        earliest = self._not_before.get((asked.timeframe.name, symbol), asked.now)
        due = began is not None and asked.now >= max(began + RETURN_AFTER, earliest)
        return due and self.breakers[self.first].lets_through(asked.now)

    def _has_another(self, asked: Asked, symbol: str, origin: str | None, failure: BarwatchError) -> bool:
        """Whether the provider of a series that has just failed as a whole is one to be replaced now."""
        if not isinstance(failure, Unreachable | RateLimited):
            return False
        provider, whole = self._choose(asked, symbol, origin)
        return provider is not None and whole

    def _fetch(self, asked: Asked, origins: Mapping[str, str]) -> Fetched:
        built: dict[Timeframe, dict[str, datetime | None]] = {}
        chosen: dict[tuple[str, bool], dict[str, datetime | None]] = {}
        failures: dict[str, BarwatchError] = {}
        for symbol, since in asked.since.items():
            smaller = self._stored and self._stored.smaller.get((asked.timeframe.name, symbol))
            provider, whole = self._choose(asked, symbol, origins.get(symbol))
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

    def _choose(self, asked: Asked, symbol: str, origin: str | None) -> tuple[str | None, bool]:
        """The provider to ask, and whether for the whole history because the series changes to it."""
        ready = [name for name, breaker in self.breakers.items() if breaker.lets_through(asked.now)]
        if origin is None or origin not in self._providers:
            return (ready[0] if ready else None), origin is not None
        if self._returns(asked, symbol, origin):
            return self.first, True
        if origin in ready:
            return origin, False
        failing_since = self.breakers[origin].record.failing_since
        if ready and failing_since and asked.now - failing_since >= SWITCH_AFTER:
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
            fetched = self._builder.of_fetched(fetched, timeframe, asked)
        return replace(fetched, sources=dict.fromkeys(fetched.as_of, name))

    def _build(self, asked: Asked, smaller: Timeframe, store: Stored, origins: Mapping[str, str]) -> Fetched:
        """The bars made of the stored smaller ones after the last that the provider itself gave.

        Those may differ: a provider's own bar can have the closing auction in it, which smaller ones lack.
        """
        name = asked.timeframe.name
        since = {symbol: label for symbol, label in asked.since.items() if label is not None}
        newest = store.bars.newest_labels(name, list(since))
        after = {symbol: store.bars.built_after(name, symbol) or newest[symbol] for symbol in since}
        cursors = pl.DataFrame(
            list(store.cursors(smaller.name, list(since)).items()),
            {"symbol": pl.String(), "cursor": INSTANT},
            orient="row",
        )
        stored = store.bars.since(smaller.name, since).join(cursors, on="symbol", maintain_order="left")
        stored = stored.filter(pl.col("ts") <= pl.col("cursor")).select(*BAR_SCHEMA)
        fetched = self._builder.of_stored(stored, after, asked)
        return replace(fetched, sources={symbol: origins[symbol] for symbol in since})


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
        built=joined("built"),
        vouched={symbol for part in parts for symbol in part.vouched},
        seen=joined("seen"),
        hours=joined("hours"),
        told_at=next((part.told_at for part in parts if part.told_at), None),
        sources=joined("sources"),
    )
