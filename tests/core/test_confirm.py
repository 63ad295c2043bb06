import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from monitor.core import confirm
from monitor.core.confirm import Confirmed, Needed

SIGNS = st.lists(st.sampled_from([-1, 0, 1]), max_size=40)
COLUMNS = {
    "series": pl.Int32, "sign": pl.Int8, "rise": pl.Int32, "fall": pl.Int32, "state0": pl.Int8, "kind0": pl.Int8,
    "run0": pl.Int32,
}  # fmt: skip


def stepped(needed, signs, machine=Confirmed()):
    states = []
    for sign in signs:
        machine = confirm.step(needed, machine, sign)
        states.append(machine)
    return states


def test_two_equal_signs_in_a_row_confirm():
    states = stepped(Needed(2, 2, "ignore"), [1, 0, 1, -1, -1])
    assert [machine.state for machine in states] == [0, 0, 1, 1, -1]


def test_a_zero_breaks_a_run_where_zeros_break():
    states = stepped(Needed(2, 2, "break"), [1, 0, 1, 1])
    assert [machine.state for machine in states] == [0, 0, 0, 1]


@given(st.lists(st.tuples(SIGNS, SIGNS, st.integers(1, 10), st.integers(1, 10)), min_size=1, max_size=5), st.booleans())
def test_the_vectorised_machine_equals_the_step_machine_from_any_start(series, ignore):
    zeros = "ignore" if ignore else "break"
    rows, expected = [], []
    for number, (before, signs, rise, fall) in enumerate(series):
        needed = Needed(rise, fall, zeros)
        start = (stepped(needed, before) or [Confirmed()])[-1]
        rows += [(number, sign, rise, fall, start.state, start.kind, start.run) for sign in signs]
        states = stepped(needed, signs, start)
        expected += [
            (after.state, after.kind, after.run, before.state)
            for before, after in zip([start, *states], states, strict=False)
        ]
    frame = pl.LazyFrame(rows, COLUMNS, orient="row")
    found = confirm.run(frame, "series", zeros).collect().select("state", "kind", "run", "state_before").rows()
    assert found == expected
