"""The storm: kill -9 at every point there is and at as many random moments as asked, then hold the books against it.

    python -m tests.crash.storm --every-point --kills 50 --seed 1

Every point is that of a first start and that of a start that finds new bars; every other recovery is itself killed at a
random point. The random moments are those of a daemon. It ends with exit code 1 if there is any fault.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.crash.harness import LATER, Laboratory, Zygote
from tests.crash.ledger import Account

STRANDS = os.cpu_count() or 1
FEW = 3  # days of bars at a first start: enough for a point of each kind


@dataclass(frozen=True)
class Share:
    """What one of several threads does of a storm."""

    strand: int
    every_point: bool
    kills: int
    seed: int

    def run(self) -> list[Account]:
        with tempfile.TemporaryDirectory(prefix="barwatch-storm-") as folder, Zygote() as zygote:
            laboratory = Laboratory(Path(folder), zygote)
            accounts: list[Account] = []
            if self.every_point:
                accounts += self._points(laboratory, "first start", FEW, armed=False)
                accounts += self._points(laboratory, "start with new bars", LATER, armed=True)
            if self.kills:
                accounts.append(self._moments(laboratory))
            return accounts

    def _points(self, laboratory: Laboratory, kind: str, days: int, *, armed: bool) -> Iterator[Account]:
        """A world for every point of this strand."""
        unharmed = laboratory.unharmed(days, armed=armed)
        for number in range(self.strand, unharmed.points, STRANDS):
            chance = random.Random(f"{self.seed} {kind} {number}")
            with laboratory.world(days, armed=armed) as world:
                world.once(number=number)
                place = world.trail()[-1]
                while chance.random() < 0.5:
                    world.once(number=chance.randrange(unharmed.points))
                world.once()
                account = world.account(unharmed.remembered)
            yield _told(f"{kind}, point {number}, before {place}", account)

    def _moments(self, laboratory: Laboratory) -> Account:
        chance = random.Random(f"{self.seed} {self.strand}")
        with laboratory.world() as world:
            days = world.survive(self.kills, chance, laboratory.unharmed().seconds)
            world.once()
            account = world.account(laboratory.unharmed(days).remembered)
        return _told(f"{self.kills} random moments", account)


def _told(where: str, account: Account) -> Account:
    for fault in account.faults:
        print(f"{where}: {fault}", flush=True)
    return account


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--every-point", action="store_true", help="kill at every point of two starts")
    parser.add_argument("--kills", type=int, default=0, help="how many daemons to kill at random moments")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = time.monotonic()
    shares = [
        Share(strand, asked.every_point, len(range(strand, asked.kills, STRANDS)), asked.seed)
        for strand in range(STRANDS)
    ]
    with ThreadPoolExecutor(STRANDS) as pool:
        accounts = [account for part in pool.map(Share.run, shares) for account in part]
    totals = sum((account.totals for account in accounts), Counter[str]())
    faults = sum(len(account.faults) for account in accounts)
    for name in ("kills", "events", "told", "held", "received", "copies", "unknown outcomes", "torn lines", "lost"):
        print(f"{name:<17} {totals[name]}")
    print(f"{'worlds':<17} {len(accounts)}\n{'faults':<17} {faults}\n{'took':<17} {time.monotonic() - began:.0f} s")
    return 1 if faults or not accounts else 0


if __name__ == "__main__":
    sys.exit(main())
