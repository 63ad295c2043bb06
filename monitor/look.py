"""A look at the market: each check at the newest closed bar, asked for now; nothing is kept or sent."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from monitor.building import Asked
from monitor.config.snapshot import Watched
from monitor.core.evaluate import BEFORE_ALL, Memory, evaluate
from monitor.holes import late
from monitor.polling import only_closed
from monitor.sessions import Sessions
from monitor.sources import Sources


def look_at(
    sources: Sources, sessions: Callable[[str], Sessions], now: datetime, watched: Watched
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Each check at the newest closed bar of each symbol it watches, and whether it would fire there; keeps nothing."""
    fetched = sources.fetch(
        Asked(watched.timeframe, dict.fromkeys(watched.markets), watched.markets, watched.guessed, now), {}
    )
    watched = watched.knowing(fetched.instruments)
    bars = only_closed(fetched, watched, sources, sessions, now)
    evaluation = evaluate(bars, watched.plan, watched.timeframe, Memory(), BEFORE_ALL)
    newest = evaluation.bars.filter("newest").partition_by("symbol", as_dict=True)
    fires = {(event.check_digest, event.symbol, event.ts) for event in evaluation.events}
    rows = []
    for check, symbols in watched.checks.items():
        for symbol in sorted(symbols):
            if (symbol,) not in newest:
                continue
            bar = newest[symbol,].row(0, named=True)
            value = bar[watched.plan.program.column(check.condition)] if check.condition else None
            rows.append(
                {
                    "symbol": symbol,
                    "timeframe": watched.timeframe.name,
                    "bar": bar["ts"],
                    "class": bar["bar"],
                    "trend": bar["trend"],
                    "digest": check.digest,
                    "check": watched.names[check.digest],
                    "now": value if check.condition else bar["trend"],
                    "fires": (check.digest, symbol, bar["ts"]) in fires,
                }
            )
    closes = {str(symbol): (bar["ts"][0], bar["closed_at"][0]) for (symbol,), bar in newest.items()}
    failures = {symbol: failure.message for symbol, failure in fetched.failures.items()}
    missing = late(sessions, sources, now, watched, closes) | failures
    return sorted(rows, key=lambda row: row["symbol"]), missing
