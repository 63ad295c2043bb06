import pytest

from monitor.core.adjust import rebase
from tests.core.conftest import frame


def bars(*closes):
    return frame("X", [(close, close, close, close, 8.0) for close in closes])


STORED = bars(100, 100, 100, 100, 100, 100, 50)


@pytest.mark.parametrize(
    ("stored", "now", "older"),
    [
        (STORED, bars(0, 0, 50, 50, 50, 50, 50), [50, 50]),
        (bars(10, 20, 30, 40, 50), bars(0, 0, 30, 41, 50), [10, 20]),
        (bars(10, 20, 30, 40, 50), bars(0, 0, 60, 80, 100), [20, 40]),
        (bars(10, 20, 30, 40, 50), bars(0, 0, 33, 99, 7), []),
        (bars(10, 20, 30), bars(0, 0, 33), []),
    ],
    ids=["a split told late", "one bar corrected", "a new scale", "no scale in it", "one bar alone"],
)
def test_older_bars_come_along_where_their_scale_can_be_told(stored, now, older):
    given = now.slice(2)
    kept = rebase(stored.head(2), stored, given)
    assert kept["close"].to_list() == older


def test_volume_is_scaled_the_other_way():
    kept = rebase(STORED.head(2), STORED, bars(0, 0, 50, 50, 50, 50, 50).slice(2))
    assert kept["volume"].to_list() == [16, 16]
