"""What must be told of the week, worked out from its script by plain Python; nothing here knows the code under test.

A *stage* is a stretch of time in which the past of a series stays as it is. From one stage to the next a bar is
corrected, filled in behind the newest one, or all of them are counted in other shares. What is then true of a bar that
was judged before is told late, what is not true any more is withdrawn; other shares change neither.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.core import plain
from tests.week import market
from tests.week.market import Bar, How, Series, Share, Slip

CHECKS = ("trend", "level", "breakout")
GAP, WITHDRAWN, QUARANTINED = "gap", "withdrawn", "quarantined"
GRACE = {"15m": timedelta(seconds=90), "1h": timedelta(seconds=90), "1d": timedelta(minutes=30)}
SETTLING = timedelta(minutes=15)
PUNCTUAL = timedelta(minutes=2)
LOOKED_FOR = timedelta(minutes=46)  # what is missing is looked for every half hour, Yahoo left alone for a quarter

Told = tuple[str, datetime, str]


@dataclass(frozen=True)
class Expected:
    """One event: when its bar was due, and from when to when it may be told; `late` if it is news of an older bar."""

    symbol: str
    timeframe: str
    check: str
    ts: datetime
    kind: str
    due: datetime
    possible: datetime
    latest: datetime
    late: bool = False

    @property
    def key(self) -> tuple[str, str, str, datetime, str]:
        return self.symbol, self.timeframe, self.check, self.ts, self.kind


def expected(shares: Iterable[Share], away: Iterable[tuple[datetime, datetime]] = ()) -> list[Expected]:
    """Every event of the week, where nobody is there to tell it in the spans `away`."""
    blocked = (market.OUTAGE, market.BAN, *away)
    return [one for share in shares for series in share.series for one in Telling(share, series, blocked).week()]


class Telling:
    """One series of a share, from stage to stage."""

    def __init__(self, share: Share, series: Series, blocked: tuple[tuple[datetime, datetime], ...]) -> None:
        self._share, self._series, self._blocked = share, series, blocked
        self._slips = {slip.ts: slip for slip in series.slips}
        self._ends = [session.closes for session in market.sessions(share.market)]
        self._places = {bar.ts: place for place, bar in enumerate(series.bars)}
        self._armed = max(bar.ts for bar in series.bars if self.due(bar) <= market.START)

    def due(self, bar: Bar) -> datetime:
        """When a bar is to be told: it has closed, Yahoo knows it, and it has had time to settle."""
        late = self._share.known_late
        if self._series.timeframe == "1d":
            late = max(late - SETTLING, timedelta(0))
        return bar.closed_at + late + GRACE[self._series.timeframe]

    def given_up(self, slip: Slip) -> datetime:
        """When an absent bar is not waited for any longer: at the first close of a session after it."""
        bar = self._series.bars[self._places[slip.ts]]
        return min(end for end in self._ends if end > bar.closed_at)

    def possible(self, bar: Bar) -> datetime:
        """When a bar can be told at the earliest, whatever is wrong."""
        built = self._series.built
        instant = self.due(bar)
        if built:
            below = Telling(self._share, built, self._blocked)
            parts = [part for part in built.bars if bar.ts <= part.ts < bar.closed_at]
            instant = max(instant, *(below.possible(part) for part in parts))
        for slip in self._slips.values():
            if slip.how in (How.BLANK, How.PENCE) and slip.ts <= bar.ts and self.due(bar) < slip.until:
                instant = max(instant, slip.until)
            if slip.how is How.ABSENT and slip.ts <= bar.ts and not (slip.ts == bar.ts and self._stays_away(slip)):
                instant = max(instant, min(slip.until, self.given_up(slip)))
        for begins, ends in self._blocked:
            instant = ends if begins <= instant < ends else instant
        return instant

    def _stays_away(self, slip: Slip) -> bool:
        return slip.how is How.ABSENT and slip.until > self.given_up(slip)

    def week(self) -> list[Expected]:
        told: list[Expected] = []
        live: dict[Told, None] = {}
        cursor = self._armed
        for began, since, until in self._stages():
            known = [bar for bar in self._as_shown(until) if self.due(bar) < until]
            found = self._events(known)
            if since:
                told += [
                    self._one(*it, began, late=True) for it in found if since <= it[1] <= cursor and it not in live
                ]
                gone = [it for it in live if since <= it[1] <= cursor and it not in found]
                told += [self._one(it[0], it[1], WITHDRAWN, began) for it in gone]
                live = {it: None for it in live if it not in gone} | {
                    it: None for it in found if since <= it[1] <= cursor
                }
            fresh = [it for it in found if it[1] > cursor]
            told += [self._one(*it) for it in fresh]
            live |= dict.fromkeys(fresh)
            cursor = known[-1].ts
        return told + self._notices()

    def _stages(self) -> list[tuple[datetime, datetime | None, datetime]]:
        """When each begins, the bar from which on its past is another one, and when it ends."""
        turns: list[tuple[datetime, datetime | None]] = [
            (slip.until, slip.ts) for slip in self._all_off() if slip.how is How.OFF or self._stays_away(slip)
        ]
        if self._share.split:
            day = next(session for session in market.sessions("XNYS") if session.opens.date() == market.SPLIT_DAY)
            turns.append((day.opens, None))
        turns.sort()
        ends = [instant for instant, _ in turns[0:]] + [market.END]
        begins: list[tuple[datetime, datetime | None]] = [(market.START, None), *turns]
        return [(began, since, end) for (began, since), end in zip(begins, ends, strict=True)]

    def _all_off(self) -> Iterable[Slip]:
        """The slips of the series; a built one has those of the bars that it is built of."""
        yield from self._slips.values()
        for slip in self._series.built.slips if self._series.built else ():
            if slip.how is How.OFF:
                yield Slip(How.OFF, max(bar.ts for bar in self._series.bars if bar.ts <= slip.ts), slip.until)

    def _as_shown(self, until: datetime) -> list[Bar]:
        """The series as it is until an instant, in the shares of that time."""
        bars = list(self._series.bars)
        if self._series.built:
            small = Telling(self._share, self._series.built, self._blocked)._as_shown(until)
            bars = list(market.together(tuple(small), self._share.market, self._series.timeframe))
        shown = []
        for bar in bars:
            slip = self._slips.get(bar.ts)
            if slip and slip.how is How.ABSENT and self._stays_away(slip) and until <= slip.until:
                continue
            shown.append(slip.shown(bar) if slip and slip.how is How.OFF and until <= slip.until else bar)
        return [self._quoted(bar, until) for bar in shown]

    def _quoted(self, bar: Bar, until: datetime) -> Bar:
        """In the shares that are traded before that instant."""
        new = until.date() > market.SPLIT_DAY
        times = 1 if new or not self._share.split else market.SHARES_FOR_ONE
        return bar._replace(open=bar.open * times, high=bar.high * times, low=bar.low * times, close=bar.close * times)

    def _events(self, bars: list[Bar]) -> dict[Told, None]:
        armed = next(place for place, bar in enumerate(bars) if bar.ts == self._armed)
        found = [("trend", place, kind) for place, kind in _trend([bar[2:] for bar in bars]) if place > armed]
        above = [bar.close > self._share.level for bar in bars]
        crossed = plain.fires(above, armed, trigger="change")
        found += [("level", place, "became_true" if above[place] else "became_false") for place in crossed]
        highest = [None, None, None, *(max(b.high for b in bars[i - 3 : i]) for i in range(3, len(bars)))]
        beyond = [None if high is None else bar.close > high for bar, high in zip(bars, highest, strict=True)]
        found += [("breakout", place, "became_true") for place in plain.fires(beyond, armed)]
        return {(check, bars[place].ts, kind): None for check, place, kind in found}

    def _notices(self) -> list[Expected]:
        """One of each gap, and one of the first bar that is not believed."""
        away = [slip for slip in self._slips.values() if self._stays_away(slip)]
        pence = [slip for slip in self._slips.values() if slip.how is How.PENCE]
        gaps = [self._one(GAP, slip.ts, GAP, self.given_up(slip)) for slip in away]
        doubts = [self._one(QUARANTINED, slip.ts, QUARANTINED, slip.ts) for slip in pence[:1]]
        return gaps + doubts

    def _one(
        self, check: str, ts: datetime, kind: str, since: datetime | None = None, *, late: bool = False
    ) -> Expected:
        bar = self._series.bars[self._places[ts]]
        due, possible = self.due(bar), self.possible(bar)
        latest = possible + (PUNCTUAL if possible == due else LOOKED_FOR)
        if since and since > due:
            possible = since
            latest = min(instant for one in self._series.bars if (instant := self.due(one)) >= since) + LOOKED_FOR
        elif since:
            possible, latest = due, due + PUNCTUAL
        return Expected(self._share.symbol, self._series.timeframe, check, ts, kind, due, possible, latest, late)


def _trend(bars: list[tuple[float, ...]]) -> list[tuple[int, str]]:
    """Where the trend starts, reverses, or is warned against: at the first bar against it, where that turns nothing."""
    kinds = plain.classes(bars)
    states = plain.trends(kinds)
    found, last = [], 0
    for place, kind in enumerate(kinds):
        before, state = (states[place - 1] if place else 0), states[place]
        if state != before:
            found.append((place, "trend_reversed" if before else "trend_started"))
        elif kind and kind == -state and kind != last:
            found.append((place, "early_warning"))
        last = kind or last
    return found
