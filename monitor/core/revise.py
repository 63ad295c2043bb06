"""Bars given again, compared with those that are stored; and bars that no market explains.

The *scale* of prices is what they are counted in: in which shares, in which unit. Once a source has worked a split into
its prices, all those before it stand on another scale. A *correction* changes single bars and leaves the scale. A
*step* is the way from one close to the next open. A *jump* is a step that neither a split nor a night explains, and a
*spike* a bar that stands off both its neighbours. *Pence* is a price forty times off, as pence are from pounds.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import polars as pl

from monitor.core.adjust import Split, undo_splits
from monitor.core.bars import PRICES

_NOISE = 1e-6
_SLIGHT = 1e-3
_SPREAD = 2.5e-3
_NEAR = 0.05
_NIGHT = math.log(1.4)
_WILD = 6
_LATELY = 20
_NEVER = math.log(3)
_PENCE = math.log(40)
_LIKE = 1 / 3
_SMALLEST_SPLIT = math.log(1.2)
_LARGE_SPLIT = math.log(1.3)
_AROUND_SPLIT = timedelta(days=10)
_SAME_DAY = timedelta(hours=12)


class Change(StrEnum):
    """What a source has done to bars that it gave before."""

    SAME = "same"
    MINOR = "minor"
    RESCALED = "rescaled"
    CORRECTED = "corrected"
    DOUBTFUL = "doubtful"


@dataclass(frozen=True)
class Comparison:
    """What has changed; `ratio` is what older prices were multiplied by where RESCALED, and 1 otherwise.

    `changed` are the bars that differ; where RESCALED only those that the ratio does not explain, and which are to be
    evaluated again, just as where CORRECTED.
    Shape: `changed` has rows of the bars given, in order.
    """

    change: Change
    ratio: float
    changed: pl.DataFrame
    why: str


@dataclass(frozen=True)
class Jump:
    """A bar that cannot be explained; `ratio` is its price by that of the bar beside it."""

    ts: datetime
    ratio: float
    pence: bool
    why: str


class _Prices(NamedTuple):
    open: float
    high: float
    low: float
    close: float


class _Pair(NamedTuple):
    """A bar as it was and as it is given now."""

    ts: datetime
    was: _Prices
    now: _Prices
    other_volume: bool


def compare(stored: pl.DataFrame, given: pl.DataFrame, splits: Sequence[Split]) -> Comparison:
    """What a source has changed about the bars of one symbol, told from the labels that both frames have."""
    pairs = _pairs(stored, given)
    ratio = _scale(pairs[:3], splits)
    rounding = 0.0 if ratio == 1 else _grain(pair.now for pair in pairs)
    apart = [_apart(pair, ratio, rounding) for pair in pairs]
    if doubt := _other_unit(ratio, splits) or _replaced(apart, ratio):
        return Comparison(Change.DOUBTFUL, 1.0, _rows(given, {pair.ts for pair in pairs}), doubt)
    limit = _NOISE if ratio == 1 else _SPREAD
    differing = {
        pair.ts for pair, far in zip(pairs, apart, strict=True) if far > limit or (ratio == 1 and pair.other_volume)
    }
    changed = _rows(given, differing)
    if doubt := _rougher(pairs, differing):
        return Comparison(Change.DOUBTFUL, 1.0, changed, doubt)
    if ratio != 1:
        return Comparison(Change.RESCALED, ratio, changed, _named(ratio, splits))
    if not differing:
        return Comparison(Change.SAME, 1.0, changed, "")
    worst = max(apart)
    if worst <= _SLIGHT:
        why = f"{len(differing)} bars differ in volume, or in prices by {worst:.2%} at most"
        return Comparison(Change.MINOR, 1.0, changed, why)
    return Comparison(Change.CORRECTED, 1.0, changed, _told(pairs[apart.index(worst)]))


def _rows(given: pl.DataFrame, labels: Collection[datetime]) -> pl.DataFrame:
    return given.filter(pl.col("ts").is_in(list(labels))) if labels else given.clear()


def _pairs(stored: pl.DataFrame, given: pl.DataFrame) -> list[_Pair]:
    columns = "ts", *PRICES, "volume"
    before = {ts: (prices, volume or 0.0) for ts, *prices, volume in stored.select(columns).iter_rows()}
    pairs = []
    for ts, *now, volume_now in given.select(columns).iter_rows():
        if ts in before:
            was, volume = before[ts]
            other_volume = abs((volume_now or 0.0) - volume) > _NOISE * volume
            pairs.append(_Pair(ts, _Prices(*was), _Prices(*now), other_volume))
    return pairs


def _apart(pair: _Pair, ratio: float, rounding: float) -> float:
    """How far a bar is from `ratio` times what it was, beyond what rounding explains."""
    return max(0.0, *((abs(now - ratio * was) - rounding) / now for was, now in zip(pair.was, pair.now, strict=True)))


def _scale(oldest: Sequence[_Pair], splits: Sequence[Split]) -> float:
    """The ratio that two of the three oldest bars agree on, as it holds for all before; a lone bar's by a split."""
    rounding = _grain(pair.now for pair in oldest)
    told = 3 * rounding / min((pair.now.low for pair in oldest), default=1.0)
    own = [sum(pair.now) / sum(pair.was) for pair in oldest] if len(oldest) > 1 else []
    if sum(_apart(pair, 1.0, 0.0) <= _NOISE for pair in oldest) >= min(2, len(oldest)):
        return 1.0
    for ratio in (*_expected(splits), *own):
        agreeing = sum(_apart(pair, ratio, rounding) <= _spread(ratio) for pair in oldest)
        if agreeing >= min(2, len(oldest)) and abs(math.log(ratio)) > told:
            return ratio
    return 1.0


def _expected(splits: Sequence[Split]) -> list[float]:
    """What splits make of older prices: each alone, and all at once."""
    alone = [1 / float(split.ratio) for split in splits]
    return [*alone, math.prod(alone)] if alone else []


def _spread(ratio: float) -> float:
    """How far from one ratio prices may be that were moved together: little, and little beside the move."""
    return min(_SPREAD, abs(math.log(ratio)) / 4)


def _grain(bars: Iterable[_Prices]) -> float:
    """Half of the last decimal place that prices are written with; 0 where they have none."""
    prices = [price for bar in bars for price in bar]
    for places in range(10):
        place = 10.0**places
        if all(abs(price * place - round(price * place)) <= _NOISE * price * place for price in prices):
            return 0.5 / place
    return 0.0


def _other_unit(ratio: float, splits: Sequence[Split]) -> str:
    if abs(math.log(ratio)) < _PENCE or any(math.isclose(ratio, named, rel_tol=_SPREAD) for named in _expected(splits)):
        return ""
    return f"older prices are {ratio:.4g} times what they were, and no split is named: perhaps another unit"


def _rougher(pairs: Sequence[_Pair], differing: Collection[datetime]) -> str:
    """The bar that a change has put off the bar before; empty where there is none."""
    for before, pair in pairwise([*pairs[:1], *pairs]):
        if pair.ts in differing or before.ts in differing:
            was, now = _reach(pair.was, before.was.close), _reach(pair.now, before.now.close)
            if now > _NIGHT + was:
                return f"{_told(pair)}, beside a close of {before.now.close:g}"
    return ""


def _reach(bar: _Prices, close: float) -> float:
    """How far (log) a bar's prices lie from the close before."""
    return max(_gap(price, close) for price in bar)


def _replaced(apart: Sequence[float], ratio: float) -> str:
    """Whether no bar is left near what it was, by no one ratio: corrections are of single bars."""
    if ratio != 1 or not apart or min(apart) <= _NEAR:
        return ""
    return f"all {len(apart)} bars that were given before differ by {min(apart):.0%} and more, by no one ratio"


def _named(ratio: float, splits: Sequence[Split]) -> str:
    for split in sorted(splits, key=lambda split: split.ts, reverse=True):
        if math.isclose(ratio * split.ratio, 1, rel_tol=_SPREAD):
            return f"a split of {split.ratio} on {_day(split.ts)}"
    return f"older prices were multiplied by {ratio:.6g}"


def _told(pair: _Pair) -> str:
    """The price of a bar that has changed most, before and after."""
    name = max(PRICES, key=lambda price: _gap(getattr(pair.now, price), getattr(pair.was, price)))
    return f"{_day(pair.ts)}: {name} {getattr(pair.was, name):g} → {getattr(pair.now, name):g}"


def _day(ts: datetime) -> str:
    return f"{ts:%Y-%m-%d}" if ts.hour == ts.minute == 0 else f"{ts:%Y-%m-%d %H:%M}"


def even_out(bars: pl.DataFrame, splits: Sequence[Split]) -> pl.DataFrame:
    """The bars of one symbol, those before a split on the scale after it, where a source has not brought them there.

    A source may work a split in late, or from a wrong bar on, or where a payment has made up for it. All of these show
    as one step within ten days of it, about as large as the split, down or up. A split smaller than 1.3:1 is looked for
    on its own day alone, as a market makes such steps too.
    """
    for split in splits:
        size = math.log(split.ratio) if split.ratio > 0 else 0.0
        known = not bars.is_empty() and bars["ts"][0] - _AROUND_SPLIT <= split.ts <= bars["ts"][-1] + _AROUND_SPLIT
        if not known or abs(size) < _SMALLEST_SPLIT:
            continue
        before, after = (_AROUND_SPLIT, _AROUND_SPLIT) if abs(size) >= _LARGE_SPLIT else (timedelta(0), _SAME_DAY)
        near = pl.col("ts").is_between(split.ts - before, split.ts + after)
        parts = bars.select("ts", part=(pl.col("close").shift(1) / pl.col("open")).log() / size)
        like = parts.filter(near & ((pl.col("part").abs() - 1).abs() < _LIKE)).rows()
        if len(like) == 1:
            [(ts, part)] = like
            bars = undo_splits(bars, [Split(ts, split.ratio if part > 0 else 1 / split.ratio)])
    return bars


def find_jump(before: pl.DataFrame, fresh: pl.DataFrame) -> Jump | None:
    """The first fresh bar that cannot be explained.

    A night explains a step to 1.4 times the price or back, and six times the usual change of a bar where that is more;
    nothing explains a price of three times the close before.
    Shape: `before` are the newest good bars of the symbol, on the scale of the fresh ones and older; 20 are of use.
    """
    bars = pl.concat([before.tail(_LATELY), fresh])
    rows = list(zip(bars["ts"], bars["closed_at"], _prices(bars), strict=True))
    known = rows[: len(rows) - fresh.height]
    night = _night([bar.close for *_, bar in known])
    two_ticks = 4 * _grain(bar for *_, bar in rows)
    for (_, closed, last), (ts, _, bar) in pairwise(rows[-fresh.height - 1 :]):
        if ts > closed and _gap(bar.open, last.close) > night and abs(bar.open - last.close) > two_ticks:
            return _jump(ts, bar.open, last.close)
        far = max(bar, key=lambda price: _gap(price, last.close))
        if _gap(far, last.close) > _NEVER:
            return _jump(ts, far, last.close)
    return None


def find_spikes(history: pl.DataFrame) -> list[Jump]:
    """The bars of a history that cannot be true: pence beside the newer bars, and what stands off both neighbours."""
    bars = list(zip(history["ts"], _prices(history), strict=True))
    level = median([bar.close for _, bar in bars[-5:]]) if bars else 1.0
    found, good = [], []
    for ts, bar in reversed(bars):
        far = max(bar, key=lambda price: _gap(price, level))
        if _gap(far, level) > _PENCE:
            found.append(_jump(ts, far, level))
        else:
            level = bar.open
            good.append((ts, bar))
    return sorted([*found, *_spikes(good[::-1])], key=lambda jump: jump.ts)


def _spikes(bars: Sequence[tuple[datetime, _Prices]]) -> Iterator[Jump]:
    closes = [bar.close for _, bar in bars]
    for i in range(1, len(bars) - 1):
        (ts, bar), last, following = bars[i], closes[i - 1], bars[i + 1][1].open
        away = {price: min(_gap(price, last), _gap(price, following)) for price in bar}
        far = max(away, key=lambda price: away[price])
        whole = min(away.values())
        night = _NIGHT if whole <= _NIGHT else _night(closes[max(0, i - _LATELY) : i])
        if away[far] > _NEVER or (whole > night and _gap(last, following) < _LIKE * whole):
            yield _jump(ts, far, last)


def _prices(bars: pl.DataFrame) -> Iterator[_Prices]:
    return map(_Prices._make, bars.select(PRICES).iter_rows())


def _gap(price: float, other: float) -> float:
    """How far (log) two prices are from one another."""
    return abs(math.log(price / other))


def _night(closes: Sequence[float]) -> float:
    """The largest gap that a night explains after these closes."""
    return max(_NIGHT, _WILD * median(_gap(*pair) for pair in pairwise(closes))) if len(closes) > 1 else _NIGHT


def _jump(ts: datetime, price: float, beside: float) -> Jump:
    pence = _gap(price, beside) > _PENCE
    unit = ", as if in another unit" if pence else ""
    return Jump(ts, price / beside, pence, f"{_day(ts)}: {price:g} after {beside:g}{unit}")
