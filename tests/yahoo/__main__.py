"""See Barwatch at work without a network: `python -m tests.yahoo`, until Ctrl-C or for `--minutes`.

An emulated Yahoo makes up minute bars around the real now; the daemon asks it through the real yfinance, as it would
ask Yahoo, and tells on this terminal what it finds.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.yahoo.market import YahooMarket
from tests.yahoo.server import YahooEmulator
from tests.yahoo.walk import walk

SYMBOLS = {"BTC-USD": (90_000.0, "CRYPTOCURRENCY"), "ACME": (120.0, "EQUITY"), "GLOBEX": (45.0, "EQUITY")}
BEFORE, AFTER, MINUTE = timedelta(hours=12), timedelta(days=2), timedelta(minutes=1)

CONFIG = """\
state_directory = "state"
log_level = "warning"

[provider]
kind = "yahoo"

[grace]
intraday = 35   # seconds: an answer of Yahoo's can be half a minute old
"""

WATCHLIST = f"""\
title = "An emulated market"
market = "24/7"
symbols = {[*SYMBOLS]}
timeframes = ["1m"]
channels = ["console"]

[[checks]]
name = "trend"
rule = "trend"
early_warning = true

[[checks]]
name = "above-the-last-three"
when = "close > prev(highest(high, 3), 1)"

[[checks]]
name = "below-the-last-three"
when = "close < prev(lowest(low, 3), 1)"
""".replace("'", '"')

TOLD = """\
This is Barwatch on an emulated Yahoo: nothing leaves this machine, and no price here is real.
It follows the minute bars of {symbols}, which trade around the clock.
A bar is told of about 40 seconds after its minute, as an answer of Yahoo may be half a minute old.
{until}
"""


def emulated(now: datetime) -> YahooMarket:
    """A market that has moved for some hours and will go on for two days."""
    first = now.replace(second=0, microsecond=0) - BEFORE
    stamps = [first + number * MINUTE for number in range((BEFORE + AFTER) // MINUTE)]
    market = YahooMarket()
    for symbol, (price, kind) in SYMBOLS.items():
        market.add(symbol, bars={"1m": walk(stamps, symbol, price)}, market="24/7", kind=kind)
    return market


def run(folder: Path, yahoo: YahooEmulator, minutes: float | None) -> int:
    """Run the daemon in a folder; its exit code."""
    (folder / "watchlists").mkdir()
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "watchlists" / "emulated.toml").write_text(WATCHLIST, encoding="utf-8")
    code = "from monitor.cli.app import main; main()"
    command = [sys.executable, "-c", code, "run", "--config", str(folder / "config.toml")]
    with subprocess.Popen(command, env=os.environ | yahoo.environment) as daemon:
        try:
            return daemon.wait(minutes and minutes * 60)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            daemon.terminate()
            return daemon.wait(30)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.yahoo", description=__doc__)
    parser.add_argument("--minutes", type=float, help="stop after that long; until Ctrl-C by default")
    minutes = parser.parse_args().minutes
    until = f"It stops after {minutes:g} minutes." if minutes else "Ctrl-C stops it."
    print(TOLD.format(symbols=", ".join(SYMBOLS), until=until), flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="barwatch-yahoo-") as folder,
        YahooEmulator(emulated(datetime.now(UTC))) as it,
    ):
        return run(Path(folder), it, minutes)


if __name__ == "__main__":
    sys.exit(main())
