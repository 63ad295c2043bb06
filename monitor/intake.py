"""Intake: what a poll gave, held against what is stored, becomes what is stored.

What overlaps stored bars shows whether the past has changed: *rescaled* as a whole by a split, or *corrected* in single
bars. A bar that comes into its place among later ones *fills* it.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from monitor.config.snapshot import Watched
from monitor.core.adjust import rebase
from monitor.core.bars import PRICES
from monitor.core.revise import Change, Comparison, compare, even_out
from monitor.polling import Poll, only_closed
from monitor.ports import Fetched
from monitor.quarantine import Doubts
from monitor.sessions import Sessions
from monitor.sources import Sources
from monitor.stores.bars import BarStore, Taken
from monitor.stores.quality import HoleState, Quality, Reevaluation, Revision, RevisionKind, values

OVERLAP = 5
REFILLED_FOR = 10
NOT_TO_LOSE = 50
REFILLED_WITHIN = timedelta(days=28)
_LARGE_STEP = 0.2
_DIFFERS = pl.any_horizontal(
    ((pl.col(name) - pl.col(f"{name}_now")).abs() > 1e-9 * pl.col(name).abs()).fill_null(value=False)
    for name in (*PRICES, "volume")
)


class Intake:
    """Takes up closed bars from the sources into the store."""

    def __init__(self, sources: Sources, bars: BarStore, quality: Quality, sessions: Callable[[str], Sessions]) -> None:
        self._sources = sources
        self._bars = bars
        self._quality = quality
        self._sessions = sessions
        self._doubts = Doubts(sources, bars, quality, sessions)
        self._instruments = quality.instruments()

    def take_up(self, now: datetime, watched: Watched, symbols: list[str], cursors: Mapping[str, datetime]) -> Poll:
        """Store the closed bars that the sources have and we have not, and what else they have changed."""
        timeframe = watched.timeframe.name
        poll = Poll(
            now=now,
            watched=watched,
            origins=self._quality.origins(timeframe, symbols),
            cursors=cursors,
            quarantines=self._quality.quarantines(timeframe, symbols),
            taken=Taken(timeframe, now),
        )
        overlap = self._bars.newest(timeframe, symbols, OVERLAP)
        known = dict(overlap.group_by("symbol").agg(pl.col("ts").first()).iter_rows())
        since = {symbol: min(known[symbol], sought) for symbol, sought in self._sought(poll, known).items()}
        closed = self._closed(poll, dict.fromkeys(symbols) | known | since)
        stored = self._bars.since(timeframe, known | since)
        watchful = self._needing_a_look(poll, stored, closed)
        plain = closed.filter(~pl.col("symbol").is_in(list(watchful)))
        poll.taken.bars.append(plain.join(stored, on=["symbol", "ts"], how="anti"))
        for symbol in sorted(watchful):
            self._settle(poll, symbol, *(part.filter(pl.col("symbol") == symbol) for part in (stored, closed)))
        with_bars = {*closed["symbol"], *stored["symbol"]} - poll.missing.keys()
        poll.taken.origins = {symbol: poll.sources[symbol] for symbol in with_bars & poll.sources.keys()}
        poll.taken.built = {symbol: poll.built[symbol] for symbol in with_bars & poll.built.keys()}
        self._bars.take(poll.taken)
        self._instruments |= poll.taken.instruments
        return poll

    def switch(self, poll: Poll, symbol: str, lacking: datetime) -> bool:
        """Have a series whole from another provider, if that has the bar which the present one lacks."""
        origin = poll.origins.get(symbol, "")
        fetched = self._sources.ask_another(poll.asked({symbol: None}), origin)
        if fetched is None or symbol not in fetched.as_of:
            return False
        changed = Poll(poll.now, poll.watched, poll.origins, poll.cursors, {}, Taken(poll.timeframe, poll.now))
        changed.sources |= fetched.sources
        given = self._only_closed(changed, fetched)
        if lacking not in given["ts"]:
            return False
        if self._change_source(changed, symbol, self._bars.newest(poll.timeframe, [symbol], None), given):
            return False
        changed.taken.origins = {symbol: fetched.sources[symbol]}
        self._bars.take(changed.taken)
        return True

    def _sought(self, poll: Poll, known: Mapping[str, datetime]) -> dict[str, datetime]:
        """Of each symbol the oldest hole that a bar may still come into."""
        holes = self._quality.holes(poll.timeframe, known.keys()).filter(
            (pl.col("state") == HoleState.PENDING)
            | ((pl.col("state") == HoleState.SKIPPED) & (pl.col("ts") >= poll.now - REFILLED_WITHIN))
        )
        sought: dict[str, datetime] = {}
        for symbol, ts, closed_at, state in holes.iter_rows():
            sessions = self._sessions(poll.watched.markets[symbol])
            recent = state == HoleState.PENDING or sessions.closes_between(closed_at, poll.now) <= REFILLED_FOR
            if symbol not in sought and recent:
                sought[symbol] = ts
        return sought

    def _closed(self, poll: Poll, since: Mapping[str, datetime | None]) -> pl.DataFrame:
        fetched = self._sources.fetch(poll.asked(since), poll.origins)
        poll.taken.instruments |= {
            symbol: of for symbol, of in fetched.instruments.items() if self._instruments.get(symbol) != of
        }
        poll.watched = poll.watched.knowing(fetched.instruments)
        for symbol, (opens, closes) in fetched.hours.items():
            if closes >= self._sessions(poll.watched.markets[symbol]).known_until:
                poll.taken.hours[poll.watched.markets[symbol]] = opens, closes
        for symbol in fetched.as_of:
            poll.missing.pop(symbol, None)
        poll.missing |= {symbol: failure.message for symbol, failure in fetched.failures.items()}
        poll.splits |= {symbol: tuple(splits) for symbol, splits in fetched.splits.items()}
        poll.sources |= fetched.sources
        poll.vouched |= set(fetched.vouched)
        poll.built |= fetched.built
        poll.quiet.append(fetched.quiet)
        return self._only_closed(poll, fetched)

    def _only_closed(self, poll: Poll, fetched: Fetched) -> pl.DataFrame:
        return only_closed(fetched, poll.watched, self._sources, self._sessions, poll.now)

    def _needing_a_look(self, poll: Poll, stored: pl.DataFrame, closed: pl.DataFrame) -> set[str]:
        """The symbols of which anything is other than stored bars repeated and new ones added to them."""
        both = stored.join(closed, on=["symbol", "ts"], suffix="_now")
        fresh = closed.join(stored, on=["symbol", "ts"], how="anti")
        newest = stored.group_by("symbol").agg(pl.col("ts").max().alias("newest"), pl.col("close").last().alias("last"))
        beside = fresh.join(newest, on="symbol", how="left", maintain_order="left")
        previous = pl.coalesce(
            pl.when(pl.col("symbol") == pl.col("symbol").shift(1)).then(pl.col("close").shift(1)), "last"
        )
        leaps = pl.any_horizontal((pl.col(price) / previous).log().abs() > _LARGE_STEP for price in PRICES)
        return {
            *both.filter(_DIFFERS)["symbol"],
            *beside.filter((pl.col("ts") < pl.col("newest")) | pl.col("newest").is_null() | leaps)["symbol"],
            *((poll.quarantines.keys() | poll.splits.keys()) & {*closed["symbol"]}),
            *(symbol for symbol, source in poll.sources.items() if poll.origins.get(symbol, source) != source),
        }

    def _settle(self, poll: Poll, symbol: str, stored: pl.DataFrame, given: pl.DataFrame) -> None:
        """Take up what a symbol has that is out of the ordinary."""
        if given.is_empty():
            poll.missing.setdefault(symbol, "its provider has no closed bars")
            return
        given = even_out(given, poll.splits.get(symbol, ()))
        if stored.is_empty() and self._bars.oldest_label(poll.timeframe, symbol) is None:
            self._begin(poll, symbol, given)
        elif poll.sources[symbol] != poll.origins.get(symbol, poll.sources[symbol]):
            refusal = self._change_source(poll, symbol, self._bars.newest(poll.timeframe, [symbol], None), given)
            if refusal:
                self._stay(poll, symbol, stored, refusal)
        else:
            self._compare(poll, symbol, stored, given)

    def _stay(self, poll: Poll, symbol: str, stored: pl.DataFrame, refusal: str) -> None:
        """Ask the provider that a series is from, as another one cannot take it over."""
        since: datetime | None = stored["ts"][0] if not stored.is_empty() else None
        given = self._closed(poll, {symbol: since})
        if poll.sources.get(symbol) != poll.origins[symbol]:
            poll.missing[symbol] = refusal
        elif not given.is_empty():
            self._compare(poll, symbol, stored, even_out(given, poll.splits.get(symbol, ())))

    def _begin(self, poll: Poll, symbol: str, given: pl.DataFrame) -> None:
        """A history given for the first time, without the rows that cannot be true."""
        sound = self._doubts.without_spikes(poll, symbol, given, among=given.clear())
        poll.taken.bars.append(even_out(sound, poll.splits.get(symbol, ())))  # a spike may have hidden a step

    def _compare(self, poll: Poll, symbol: str, stored: pl.DataFrame, given: pl.DataFrame) -> None:
        found = compare(stored, given, poll.splits.get(symbol, ()))
        if not self._doubts.sound(poll, symbol, stored, given, found):
            return
        if _goes_further_back(found, stored, given):
            stored = self._bars.newest(poll.timeframe, [symbol], None)
            given = even_out(self._closed(poll, {symbol: None}), poll.splits.get(symbol, ()))
            if given.is_empty() or given["ts"][-1] < stored["ts"][-1]:
                poll.missing.setdefault(symbol, "its history has changed, and ends before the newest stored bar")
                return
            found = compare(stored, given, poll.splits.get(symbol, ()))
            if not self._doubts.sound(poll, symbol, stored, given, found):
                return
        newest = stored["ts"][-1]
        if found.change is Change.RESCALED or _replaced(found, stored, given):
            self._rescale(poll, symbol, stored, given, found)
            overlap = given.filter(pl.col("ts") <= newest)
            self._doubts.take_fresh(poll, symbol, overlap, given.filter(pl.col("ts") > newest))
        else:
            self._correct(poll, symbol, stored, found)
            self._fill(poll, symbol, stored, given)

    def _rescale(self, poll: Poll, symbol: str, stored: pl.DataFrame, given: pl.DataFrame, found: Comparison) -> None:
        """The whole history on its new scale. Nothing that was told on the old one is compared with it."""
        newest = stored["ts"][-1]
        kept = rebase(stored.join(given, on="ts", how="anti"), stored, given)
        poll.taken.histories[symbol] = pl.concat([kept, given.filter(pl.col("ts") <= newest)]).sort("ts")
        # Bars from a split on that were judged before it was told: what they told may not hold.
        after = [split.ts for split in poll.splits.get(symbol, ()) if split.ts <= newest]
        wrong = found.changed.filter(pl.col("ts") >= max(after)) if after else found.changed.clear()
        beyond = found.change is Change.RESCALED and not wrong.is_empty()
        since: datetime = wrong["ts"][0] if beyond else newest
        upto = [ts for ts in stored["ts"] if ts < since][-1:] if beyond else [newest]
        poll.taken.revisions += [Revision(symbol, ts, RevisionKind.RESCALED, found.why) for ts in upto]
        self._owe(poll, symbol, since, compare=beyond, why=found.why)

    def _correct(self, poll: Poll, symbol: str, stored: pl.DataFrame, found: Comparison) -> None:
        if found.change is Change.SAME:
            return
        kind = RevisionKind.MINOR if found.change is Change.MINOR else RevisionKind.CORRECTED
        before = {row["ts"]: row for row in stored.iter_rows(named=True)}
        poll.taken.bars.append(found.changed)
        poll.taken.revisions += [
            Revision(symbol, row["ts"], kind, found.why, values(before[row["ts"]]), values(row))
            for row in found.changed.iter_rows(named=True)
        ]
        if kind is RevisionKind.CORRECTED:
            self._owe(poll, symbol, found.changed["ts"].min(), compare=True, why=found.why)

    def _fill(self, poll: Poll, symbol: str, stored: pl.DataFrame, given: pl.DataFrame) -> None:
        """Bars that were not there: new ones, and those that come only now into their place among stored ones."""
        come = given.join(stored, on="ts", how="anti")
        behind = self._doubts.without_spikes(poll, symbol, come.filter(pl.col("ts") < stored["ts"][-1]), among=stored)
        cursor = poll.cursors.get(symbol)
        oldest = self._bars.oldest_label(poll.timeframe, symbol)
        within = pl.col("ts").is_between(oldest, cursor) if cursor else pl.lit(value=False)
        late = behind.filter(within)
        poll.taken.bars.append(behind)
        if not late.is_empty():
            why = f"the bar of {late['ts'][0]:%Y-%m-%d %H:%M} UTC came after later ones"
            poll.taken.revisions += [
                Revision(symbol, row["ts"], RevisionKind.FILLED, why, None, values(row))
                for row in late.iter_rows(named=True)
            ]
            self._owe(poll, symbol, late["ts"][0], compare=True, why=why)
        newest = stored["ts"][-1]
        self._doubts.take_fresh(poll, symbol, given.filter(pl.col("ts") <= newest), come.filter(pl.col("ts") > newest))

    def _change_source(self, poll: Poll, symbol: str, stored: pl.DataFrame, given: pl.DataFrame) -> str:
        """A series from another provider: all of it, so that sources never mix; what is new is judged as ever.

        Where the other one cannot take it over, the reason: then it stays where it is for another day.
        """
        origin = poll.origins[symbol]
        given = self._doubts.without_spikes(poll, symbol, given, among=given.clear(), followed=True)
        back = poll.sources.get(symbol) == self._sources.first
        if (
            given.is_empty()
            or given["ts"][-1] < stored["ts"][-1]
            or compare(stored, given, ()).change is Change.DOUBTFUL
            or (back and not _has_all(given, stored.tail(NOT_TO_LOSE)))
        ):
            self._sources.keep_origin(poll.watched.timeframe, symbol, poll.now)
            other = poll.sources.get(symbol, "another provider")
            return f"{other} cannot replace {origin}: it lacks newer bars, or has them in another unit"
        newest = stored["ts"][-1]
        why = f"{origin} was replaced by {poll.sources.get(symbol, 'the next provider')}"
        poll.taken.histories[symbol] = given.filter(pl.col("ts") <= newest)
        poll.taken.revisions.append(Revision(symbol, newest, RevisionKind.SWITCHED, why))
        self._owe(poll, symbol, newest, compare=False, why=why)
        self._doubts.take_fresh(poll, symbol, poll.taken.histories[symbol], given.filter(pl.col("ts") > newest))
        return ""

    def _owe(self, poll: Poll, symbol: str, since: Any, *, compare: bool, why: str) -> None:
        known = poll.taken.reevaluations.get(symbol)
        if known and known.compare:
            since, compare, why = min(since, known.since), True, known.why
        poll.taken.reevaluations[symbol] = Reevaluation(since, compare, why)


def _has_all(given: pl.DataFrame, stored: pl.DataFrame) -> bool:
    return stored.join(given, on="ts", how="anti").is_empty()


def _goes_further_back(found: Comparison, stored: pl.DataFrame, given: pl.DataFrame) -> bool:
    """Whether what has changed may have changed before the overlap, too."""
    if found.change in (Change.RESCALED, Change.DOUBTFUL):
        return True
    oldest = stored.join(given, on="ts", how="semi")["ts"].min()
    return found.change is Change.CORRECTED and oldest in found.changed["ts"]


def _replaced(found: Comparison, stored: pl.DataFrame, given: pl.DataFrame) -> bool:
    """Whether no bar that both have has stayed as it was."""
    common = given.join(stored, on="ts", how="semi").height
    return found.change is Change.DOUBTFUL and found.changed.height == common
