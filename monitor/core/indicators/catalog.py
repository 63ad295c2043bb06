"""The catalog: every indicator of the sibling modules, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from monitor.core.indicators import averages, momentum, series, volatility, volume
from monitor.core.indicators.registry import Indicator

INDICATORS: Mapping[str, Indicator] = MappingProxyType(
    {
        entry.name: entry
        for module in (averages, momentum, series, volatility, volume)
        for entry in vars(module).values()
        if isinstance(entry, Indicator)
    }
)
