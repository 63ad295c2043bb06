"""The week in its long version, through the real yfinance: never killed, and killed again and again.

    python -m tests.week --kills 200 --every-point --budget --seed 1

A kill is at a random step or a random moment of the week; with `--every-point` also at each step of the cycles in which
something is corrected, filled in or split, while half of the recoveries are killed too. `--budget` counts the requests
for five hundred symbols. It ends with exit code 1 if there is any fault.
"""

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tests.crash.harness import Zygote
from tests.week import budget, market
from tests.week.expected import expected
from tests.week.market import DOWNTIME, END, at
from tests.week.replay import Clock
from tests.week.rig import Account, Week, week

ZYGOTE = "tests.week.zygote"
STRANDS = os.cpu_count() or 1
KILLS_A_WEEK = 50
OWED, PAID = "bars: INSERT reevaluations", "bars: COMMIT after DELETE reevaluations"
REVISED = {
    "corrected": ("BETA", at(28, 20, 30)),
    "corrected, nothing to withdraw": ("ERIC-B.ST", at(31, 12, 35)),
    "corrected quarters of an hour": ("ALFA", at(27, 19, 1, 30)),
    "corrected hours built of them": ("ALFA", at(27, 19, 31, 30)),
    "filled in": ("GAMA", at(30, 20, 30)),
    "filled in, an hour": ("BTC-USD", at(30, 3, 1, 30)),
    "split": ("SPLT", at(30, 20, 30)),
    "split, hours": ("SPLT", at(30, 14, 31, 30)),
}
A_MOMENT = timedelta(seconds=10)


@dataclass(frozen=True)
class Unharmed:
    """What came of a week that was never killed: what its store remembers, its steps, and how long it took."""

    remembered: dict[str, list[str]]
    points: int
    seconds: float


def never_killed() -> tuple[Unharmed, Account]:
    """The reference, held against what was expected."""
    with Zygote(ZYGOTE) as zygote, week(market.shares(), zygote) as world:
        began = time.monotonic()
        world.go(END)
        took = time.monotonic() - began
        unharmed = Unharmed(world.remembered(), len(world.trail()), took)
        return unharmed, _told("never killed", world.account(expected(market.shares())))


def killed(unharmed: Unharmed, kills: int, seed: str) -> Account:
    """A week of random kills and four hours asleep."""
    chance = random.Random(seed)
    with Zygote(ZYGOTE) as zygote, week(market.shares(), zygote) as world:
        for number in range(kills):
            if number % 2:
                world.go(DOWNTIME[0], number=chance.randrange(2 * unharmed.points // kills))
            else:
                world.kill(DOWNTIME[0], chance.uniform(0.1, 2 * unharmed.seconds / kills))
        world.live([], [DOWNTIME])
        account = world.account(expected(market.shares(), [DOWNTIME]), unharmed.remembered)
    return _told(f"{world.kills} kills, seed {seed}", account)


def at_every_point(what: str, strand: int, seed: int) -> Iterator[Account]:
    """Kills within the cycle that carries a revision, one world for each step of this strand."""
    symbol, instant = REVISED[what]
    shares = tuple(share for share in market.shares() if share.symbol == symbol)
    with Zygote(ZYGOTE) as zygote, week(shares, zygote) as before:
        before.go(instant)
        with _copy(before) as clean:
            clean.go(instant + A_MOMENT)
            unharmed, trail = clean.remembered(), clean.trail()
        first, last = trail.index(OWED), len(trail) - trail[::-1].index(PAID)
        for step in range(strand, last - first + 1, STRANDS):
            chance = random.Random(f"{seed} {what} {step}")
            with _copy(before) as world:
                came = world.go(instant + A_MOMENT, name=OWED, after=step)
                while chance.random() < 0.5:
                    world.go(instant + A_MOMENT, number=chance.randrange(len(trail)))
                world.go(instant + A_MOMENT)
                books = world.books(unharmed)
            faults = books.faults if came else [*books.faults, "it never came there"]
            totals = Counter({"kills": world.kills, "copies": books.totals["copies"]})
            yield _told(f"{what}, step {step}, before {trail[first + step]}", Account(totals, faults))


@contextlib.contextmanager
def _copy(world: Week) -> Iterator[Week]:
    """A copy of a world; its emulator now tells the time by that."""
    with tempfile.TemporaryDirectory(prefix="barwatch-week-") as name:
        folder = shutil.copytree(world.folder, Path(name), dirs_exist_ok=True)
        world.yahoo.market.clock = Clock(folder)
        yield Week(folder, world.yahoo, world.zygote)


def _told(where: str, account: Account) -> Account:
    for fault in account.faults:
        print(f"{where}: {fault}", flush=True)
    return account


def _strand(strand: int, unharmed: Unharmed, asked: argparse.Namespace) -> list[Account]:
    accounts = []
    weeks = -(-asked.kills // KILLS_A_WEEK)
    for number in range(strand, weeks, STRANDS):
        kills = min(KILLS_A_WEEK, asked.kills - number * KILLS_A_WEEK)
        accounts.append(killed(unharmed, kills, f"{asked.seed} {number}"))
    for what in REVISED if asked.every_point else ():
        accounts += at_every_point(what, strand, asked.seed)
    return accounts


def _budget() -> None:
    for count, *timeframes in (
        (budget.counted, "1h", "1d"),
        (budget.counted, "15m", "1h"),
        (budget.emulated, "1h", "1d"),
    ):
        with tempfile.TemporaryDirectory(prefix="barwatch-week-") as folder:
            rate = count(Path(folder), tuple(timeframes))
            print(f"{' + '.join(timeframes):<17} {rate:.3f} requests a second, {count.__name__}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.week", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=0, help="how many random kills")
    parser.add_argument("--every-point", action="store_true", help="kill at every step of the cycles with a revision")
    parser.add_argument("--budget", action="store_true", help="count the requests for five hundred symbols")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = time.monotonic()
    unharmed, reference = never_killed()
    _show("never killed", reference.totals)
    with ThreadPoolExecutor(STRANDS) as pool:
        shares = [pool.submit(_strand, strand, unharmed, asked) for strand in range(STRANDS)]
        accounts = [account for share in shares for account in share.result()]
    if accounts:
        _show(f"killed, {len(accounts)} worlds", sum((account.totals for account in accounts), Counter[str]()))
    if asked.budget:
        _budget()
    faults = sum(len(account.faults) for account in (reference, *accounts))
    print(f"{'faults':<17} {faults}\n{'took':<17} {time.monotonic() - began:.0f} s")
    return 1 if faults else 0


def _show(what: str, totals: Counter[str]) -> None:
    print(what)
    for name in ("kills", "expected", "told", "lost", "unexpected", "copies", "torn lines"):
        print(f"    {name:<13} {totals[name]}")
    if weeks := totals["weeks"]:
        rate = totals["requests"] / weeks / (END - market.START).total_seconds()
        print(f"    {'requests':<13} {rate:.4f} a second")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
