"""The published rules of bars, trends and checks, read once more in plain Python: what the real code is held against.

Nothing here imports the code under test. A bar is (open, high, low, close, volume).
"""


def classes(bars, *, body=False, min_volume_ratio=None):
    """+1, −1, 0 for each bar, None for the first."""
    found = [None]
    for i in range(1, len(bars)):
        o, h, l, c, _ = bars[i - 1]  # noqa: E741  open, high, low, close
        top, bottom = (max(o, c), min(o, c)) if body else (h, l)
        close = bars[i][3]
        kind = 1 if close > top else -1 if close < bottom else 0
        if min_volume_ratio is not None and i >= 19:
            usual = sum(bar[4] for bar in bars[i - 19 : i + 1]) / 20
            if bars[i][4] < min_volume_ratio * usual:
                kind = 0
        found.append(kind)
    return found[: len(bars)]


def trends(kinds, *, confirmation=2, fakes="ignore"):
    """The state after each bar: +1, −1 or 0."""
    state, real = 0, []
    states = []
    for kind in kinds:
        if kind:
            real.append(kind)
        elif fakes == "break":
            real = []
        if len(real) >= confirmation and len(set(real[-confirmation:])) == 1:
            state = real[-1]
        states.append(state)
    return states


def fires(values, armed_at, *, trigger="rising", confirm=1, rearm=1):
    """The places after `armed_at` at which a check fires, for values True, False or None."""
    fired = []
    on = values[armed_at]
    run = [values[armed_at]] if values[armed_at] is not None else []
    for place in range(armed_at + 1, len(values)):
        value = values[place]
        run = [] if value is None else [*run, value] if run and run[-1] == value else [value]
        need = {
            "rising": confirm if value else rearm,
            "falling": rearm if value else confirm,
            "change": confirm,
            "level": confirm,
        }[trigger]
        if trigger == "level":
            if value and len(run) >= need:
                fired.append(place)
            continue
        if value is None or len(run) < need or value == on:
            continue
        was, on = on, value
        wanted = {"rising": (True,), "falling": (False,), "change": (True, False)}[trigger]
        if was is not None and value in wanted:
            fired.append(place)
    return fired
