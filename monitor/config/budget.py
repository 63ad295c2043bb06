"""Budget: how much a provider is asked, where each symbol costs a request, beside how much it may be.

An intraday bar is asked for once for each symbol, at the smallest watched timeframe: larger ones are built from it. A
*pass* asks for every symbol once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from monitor.core.timeframe import Timeframe
from monitor.errors import ConfigError
from monitor.providers import ProviderSettings, TwelveDataSettings, YahooSettings


@dataclass(frozen=True)
class Budget:
    """Unit: requests in an hour in which everything trades, of those that are possible; minutes for a pass."""

    requests_an_hour: int
    possible_an_hour: int
    minutes_a_pass: float

    def __str__(self) -> str:
        return (
            f"{self.requests_an_hour} requests an hour while markets trade, of {self.possible_an_hour} possible; "
            f"a pass over all symbols takes {self.minutes_a_pass:.1f} min"
        )


def poll_budget(provider: ProviderSettings, watched: Mapping[Timeframe, Iterable[str]]) -> Budget | None:
    """The budget of a provider for the symbols watched at each timeframe; None where a symbol costs no request.

    Raises: ConfigError when they cannot be polled as often as their bars close.
    """
    per_second = _per_second(provider)
    if per_second is None:
        return None
    of_symbol: dict[str, list[Timeframe]] = {}
    for timeframe in sorted(watched):
        for symbol in watched[timeframe]:
            asked_for = of_symbol.setdefault(symbol, [])
            if not any(_built(timeframe, smaller) for smaller in asked_for):
                asked_for.append(timeframe)
    asked = [(symbol, timeframe) for symbol, timeframes in of_symbol.items() for timeframe in timeframes]
    needed = sum(1 / timeframe.length.total_seconds() for _, timeframe in asked)
    budget = Budget(ceil(round(needed * 3600, 3)), round(per_second * 3600), len(of_symbol) / per_second / 60)
    if needed > per_second:
        smallest = min(timeframe for _, timeframe in asked)
        count = sum(timeframe == smallest for _, timeframe in asked)
        raise ConfigError(
            f"{provider.kind} cannot be asked that often: the watchlists need {budget}",
            f"{count} symbols are watched at {smallest}: watch fewer, or larger bars, or use another provider",
        )
    return budget


def _built(larger: Timeframe, smaller: Timeframe) -> bool:
    return larger.intraday and smaller < larger and not larger.length % smaller.length


def _per_second(provider: ProviderSettings) -> float | None:
    if isinstance(provider, YahooSettings):
        return provider.requests_per_second
    return provider.credits_per_minute / 60 if isinstance(provider, TwelveDataSettings) else None
