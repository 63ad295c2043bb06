"""Snapshot: the configuration in force, joined and checked as a whole, in the form that a cycle needs."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from monitor.config.budget import Budget, poll_budget
from monitor.config.settings import Settings, load_settings
from monitor.config.watchlists import CheckSettings, Watchlist, load_watchlists
from monitor.core.checks import Check
from monitor.core.classify import Method
from monitor.core.evaluate import Plan
from monitor.core.events import digest
from monitor.core.policy import Route, Severity
from monitor.core.timeframe import Timeframe
from monitor.errors import ConfigError
from monitor.markets import guess_market
from monitor.ports import Instrument


@dataclass(frozen=True)
class Watched:
    """What runs at one timeframe.

    `checks` has the symbols each check watches, `names` what people call it (by digest); `routes` the ways to tell
    (check digest, symbol); `markets` the market of each symbol, which is only guessed for those in `guessed`. A bar is
    taken up when it has been closed for `grace`.
    """

    timeframe: Timeframe
    grace: timedelta
    method: Method
    checks: Mapping[Check, frozenset[str]]
    names: Mapping[str, str]
    routes: Mapping[tuple[str, str], tuple[Route, ...]]
    markets: Mapping[str, str]
    guessed: frozenset[str]
    config_digest: str

    @cached_property
    def plan(self) -> Plan:
        return Plan.of(self.checks, self.method)

    def knowing(self, instruments: Mapping[str, Instrument]) -> "Watched":
        """The same, with what a provider says of a market in the place of a guess."""
        told = {symbol: of.market for symbol, of in instruments.items() if of.market and symbol in self.guessed}
        changed = {symbol: market for symbol, market in told.items() if self.markets.get(symbol) not in (None, market)}
        return replace(self, markets={**self.markets, **changed}) if changed else self

    def only(self, symbols: Collection[str]) -> "Watched":
        """The same for some of the symbols."""
        checks = {check: of.intersection(symbols) for check, of in self.checks.items()}
        markets = {symbol: market for symbol, market in self.markets.items() if symbol in symbols}
        return replace(self, checks={check: of for check, of in checks.items() if of}, markets=markets)


@dataclass(frozen=True)
class Snapshot:
    """Settings, watchlists and what they amount to.

    `digest` names it in events: it changes with what is watched, how it is judged and where it is told.
    """

    folder: Path
    settings: Settings
    watchlists: Mapping[str, Watchlist]
    watched: tuple[Watched, ...]
    digest: str
    budget: Budget | None = None

    def pairs(self, name: str) -> Iterator[tuple[str, str, str]]:
        """The (timeframe, check digest, symbol) of one watchlist."""
        watchlist, method = self.watchlists[name], self.settings.method.method()
        for written in watchlist.checks:
            digest = written.check(method).digest
            for timeframe in watchlist.timeframes_of(written):
                yield from ((timeframe.name, digest, symbol) for symbol in written.symbols or watchlist.symbols)


def load_snapshot(path: Path, edited: Mapping[Path, str] | None = None) -> Snapshot:
    """The configuration of a config.toml and its watchlists, or what it would be with some watchlists `edited`.

    Raises: ConfigError naming the file, line and column.
    """
    settings = load_settings(path)
    folder = path.parent.absolute()
    loaded = load_watchlists(folder / settings.watchlists, settings.method.method(), edited or {})
    watchlists = {name: watchlist for name, (watchlist, _) in loaded.items()}
    for name, watchlist in watchlists.items():
        _known_channels(folder / settings.watchlists / f"{name}.toml", watchlist, settings)
    meaning = digest(
        [
            [settings.provider.kind, settings.fallback.kind if settings.fallback else None],
            settings.model_dump(mode="json", include={"grace", "method"}),
            {name: channel.kind for name, channel in settings.channels.items()},
            {name: watchlist.model_dump(mode="json") for name, watchlist in watchlists.items()},
        ]
    )
    watched = _join(loaded, settings, meaning)
    budget = poll_budget(settings.provider, {one.timeframe: one.markets for one in watched})
    return Snapshot(folder, settings, watchlists, watched, meaning, budget)


def _known_channels(path: Path, watchlist: Watchlist, settings: Settings) -> None:
    named = {*watchlist.channels, *(name for check in watchlist.checks for name in check.channels or ())}
    for name in sorted(named - settings.channels.keys()):
        near = get_close_matches(name, settings.channels, 1, 0.5)
        raise ConfigError(
            f"{path}: channel {name!r} is not defined in config.toml (there: {', '.join(settings.channels) or 'none'})",
            f"did you mean {near[0]!r}?" if near else f"add [channels.{name}] to config.toml",
        )


def _join(
    loaded: Mapping[str, tuple[Watchlist, dict[str, Check]]], settings: Settings, config_digest: str
) -> tuple[Watched, ...]:
    """One Watched for each timeframe: equal checks of several watchlists become one, with the routes of all."""
    joined: dict[Timeframe, dict[str, Any]] = {}
    for name, (watchlist, checks) in loaded.items():
        for written in watchlist.checks:
            check = checks[written.name]
            symbols = written.symbols or watchlist.symbols
            for timeframe in watchlist.timeframes_of(written):
                entry = joined.setdefault(timeframe, {"checks": {}, "names": {}, "routes": {}, "markets": {}})
                entry["checks"].setdefault(check, set()).update(symbols)
                entry["names"].setdefault(check.digest, written.name)
                for symbol in symbols:
                    _one_market(entry["markets"], symbol, watchlist.market_of(symbol), name)
                    routes = entry["routes"].setdefault((check.digest, symbol), [])
                    routes += _routes(name, watchlist, written)
    return tuple(
        Watched(
            timeframe=timeframe,
            grace=settings.grace.of(timeframe),
            method=settings.method.method(),
            checks={check: frozenset(symbols) for check, symbols in entry["checks"].items()},
            names=entry["names"],
            routes={pair: tuple(routes) for pair, routes in entry["routes"].items()},
            markets={symbol: market or guess_market(symbol) for symbol, market in entry["markets"].items()},
            guessed=frozenset(symbol for symbol, market in entry["markets"].items() if market is None),
            config_digest=config_digest,
        )
        for timeframe, entry in sorted(joined.items())
    )


def _routes(name: str, watchlist: Watchlist, check: CheckSettings) -> list[Route]:
    channels = watchlist.channels if check.channels is None else check.channels
    severity = check.severity or watchlist.severity or Severity.WARNING
    return [Route(name, check.name, channel, severity, watchlist.cooldown_of(check)) for channel in channels]


def _one_market(markets: dict[str, str | None], symbol: str, market: str | None, watchlist: str) -> None:
    """A market that one watchlist states holds for those that state none."""
    if markets.get(symbol) is None:
        markets[symbol] = market
    elif market is not None and markets[symbol] != market:
        raise ConfigError(
            f"watchlist {watchlist!r} puts {symbol} on market {market}, another watchlist on {markets[symbol]}",
            f'give it one market in each, for example markets = {{ {symbol} = "{markets[symbol]}" }}',
        )
