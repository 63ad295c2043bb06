"""The pace of requests. Only least times are measured: a slow machine may take longer, never less."""

from threading import Event, Thread
from time import monotonic

import pytest

from monitor.providers.pace import TokenBucket


def seconds(bucket: TokenBucket, count: int) -> float:
    begun = monotonic()
    assert all(bucket.take() for _ in range(count))
    return monotonic() - begun


def test_a_burst_is_had_at_once():
    assert seconds(TokenBucket(per_second=0.001, burst=5), 5) < 10


def test_after_the_burst_requests_keep_the_pace():
    assert seconds(TokenBucket(per_second=100, burst=2, jitter=0), 12) >= 0.1


def test_threads_share_one_pace():
    bucket = TokenBucket(per_second=100, burst=1, jitter=0)
    threads = [Thread(target=seconds, args=(bucket, 5)) for _ in range(3)]
    begun = monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert monotonic() - begun >= 0.14


def test_a_rest_gives_no_more_than_a_burst():
    bucket = TokenBucket(per_second=100, burst=2, jitter=0)
    Event().wait(0.1)
    assert seconds(bucket, 7) >= 0.05


def test_who_waits_waits_a_little_longer_by_chance():
    bucket = TokenBucket(per_second=1000, burst=1, jitter=100)
    assert seconds(bucket, 6) >= 0.01


def test_chance_delays_nobody_who_finds_a_token():
    assert seconds(TokenBucket(per_second=0.001, burst=5, jitter=100), 5) < 10


@pytest.mark.parametrize("waiting", [1, 3])
def test_closing_ends_all_waiting(waiting):
    bucket = TokenBucket(per_second=0.001, burst=1)
    bucket.take()
    given: list[bool] = []
    threads = [Thread(target=lambda: given.append(bucket.take())) for _ in range(waiting)]
    for thread in threads:
        thread.start()
    bucket.close()
    for thread in threads:
        thread.join(10)
    assert given == [False] * waiting


def test_a_closed_bucket_gives_nothing():
    bucket = TokenBucket(per_second=1000)
    bucket.close()
    assert not bucket.take()
