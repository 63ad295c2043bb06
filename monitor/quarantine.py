"""Quarantine: bars that cannot be explained are kept out until they can be believed.

They are when they come otherwise, when another provider says the same, or when the same one still does after another
session: by then a split has been named. But mere repetition does not make prices true that are several times off, such
as pence among pounds; these wait until a person believes them.
"""

import math
from collections.abc import Callable

import polars as pl

from monitor.core.revise import Change, Comparison, find_jump, find_spikes
from monitor.polling import Poll
from monitor.sessions import Sessions
from monitor.sources import Sources
from monitor.stores.bars import BarStore
from monitor.stores.quality import Quality, Quarantine, Revision, RevisionKind, values

BEFORE_A_JUMP = 100
FAR_OFF = math.log(3)
_BESIDE = 5
_SAME_JUMP = 0.05
_SAME_PRICE = 0.02


class Doubts:
    """Judges what a poll brought."""

    def __init__(self, sources: Sources, bars: BarStore, quality: Quality, sessions: Callable[[str], Sessions]) -> None:
        self._sources = sources
        self._sessions = sessions
        self._bars = bars
        self._quality = quality

    def take_fresh(self, poll: Poll, symbol: str, before: pl.DataFrame, fresh: pl.DataFrame) -> None:
        """Take up new bars, up to one whose prices cannot be believed yet."""
        if before.height < BEFORE_A_JUMP and not fresh.is_empty() and symbol not in poll.taken.histories:
            stored = self._bars.newest(poll.timeframe, [symbol], BEFORE_A_JUMP)
            oldest = before["ts"][0] if before.height else fresh["ts"][0]
            before = pl.concat([stored.filter(pl.col("ts") < oldest), before])
        if not fresh.is_empty() and not before.is_empty() and find_jump(before, fresh):
            fresh = self.without_spikes(poll, symbol, fresh, among=before.tail(_BESIDE), followed=True)
        while not fresh.is_empty() and not before.is_empty():
            jump = find_jump(before, fresh)
            if jump is None:
                break
            doubt = Quarantine(jump.ts, poll.now, jump.ratio, jump.why)
            vouched = symbol in poll.built or (symbol in poll.vouched and not jump.pence)
            if not vouched and not self._believed(poll, symbol, doubt, fresh):
                poll.taken.bars.append(fresh.filter(pl.col("ts") < jump.ts))
                return
            at_jump = fresh.filter(pl.col("ts") <= jump.ts)
            poll.taken.bars.append(at_jump)
            before, fresh = pl.concat([before, at_jump]), fresh.filter(pl.col("ts") > jump.ts)
        poll.taken.bars.append(fresh)
        if symbol in poll.quarantines and symbol not in poll.taken.quarantines:
            poll.taken.released.add(symbol)

    def without_spikes(
        self, poll: Poll, symbol: str, given: pl.DataFrame, *, among: pl.DataFrame, followed: bool = False
    ) -> pl.DataFrame:
        """The bars without those that cannot be true beside others; only such as a good bar follows, if told so."""
        if given.is_empty():
            return given
        spikes = {spike.ts: spike.why for spike in find_spikes(pl.concat([among, given]).sort("ts"))}
        wrong = given.filter(pl.col("ts").is_in(list(spikes)))
        if followed:
            good = given.join(wrong, on="ts", how="anti")["ts"]
            wrong = wrong.filter(pl.col("ts") < good.max()) if len(good) else wrong.clear()
        if wrong.is_empty():
            return given
        known = self._quality.left_out(poll.timeframe, symbol)
        poll.taken.revisions += [
            Revision(symbol, row["ts"], RevisionKind.LEFT_OUT, spikes[row["ts"]], values(row))
            for row in wrong.iter_rows(named=True)
            if row["ts"] not in known
        ]
        return given.join(wrong, on="ts", how="anti")

    def sound(self, poll: Poll, symbol: str, stored: pl.DataFrame, given: pl.DataFrame, found: Comparison) -> bool:
        """Whether what has changed may be taken up now; where it is prices of another unit, only if another agrees."""
        if found.change is not Change.DOUBTFUL or symbol in poll.taken.histories or symbol in poll.built:
            return True
        both = found.changed.join(stored, on="ts", suffix="_was")
        steps = both.select((pl.col("close") / pl.col("close_was")).alias("step"))["step"].to_list() or [1.0]
        step = max(steps, key=lambda ratio: abs(math.log(ratio)))
        worst = both["ts"][steps.index(step)] if not both.is_empty() else given["ts"][0]
        doubt = Quarantine(worst, poll.now, step, found.why)
        return self._believed(poll, symbol, doubt, given)

    def _believed(self, poll: Poll, symbol: str, doubt: Quarantine, given: pl.DataFrame) -> bool:
        """Whether what is doubted may be taken up."""
        known = poll.quarantines.get(symbol)
        if known and (known.ts != doubt.ts or abs(known.ratio / doubt.ratio - 1) > _SAME_JUMP):
            known = None
        if known and (known.believed or self._has_lasted(poll, symbol, known)):
            return True
        if self._another_agrees(poll, symbol, doubt, given):
            return True
        found_at = known.found_at if known else poll.now
        poll.taken.quarantines[symbol] = Quarantine(doubt.ts, found_at, doubt.ratio, doubt.why)
        poll.missing[symbol] = f"in quarantine: {doubt.why}"
        return False

    def _has_lasted(self, poll: Poll, symbol: str, doubt: Quarantine) -> bool:
        """Whether another session has closed since, besides the one it was found in."""
        sessions = self._sessions(poll.watched.markets[symbol])
        within, _ = sessions.at(doubt.found_at)
        return abs(math.log(doubt.ratio)) <= FAR_OFF and sessions.closes_between(doubt.found_at, poll.now) > within

    def _another_agrees(self, poll: Poll, symbol: str, doubt: Quarantine, given: pl.DataFrame) -> bool:
        """Whether another provider has the same price at the bar that is doubted."""
        fetched = self._sources.ask_another(poll.asked({symbol: doubt.ts}), poll.sources.get(symbol, ""))
        if fetched is None:
            return False
        here = given.filter(pl.col("ts") == doubt.ts)["close"].to_list()
        there = fetched.bars.filter(pl.col("symbol") == symbol, pl.col("ts") == doubt.ts)["close"].to_list()
        return bool(here and there and abs(there[0] / here[0] - 1) <= _SAME_PRICE)
