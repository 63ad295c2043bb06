"""The pace of requests to a provider: a token bucket, as real time runs.

Each request takes a *token*; `per_second` tokens come back, and `burst` of them can lie ready. Who finds none waits for
the one that comes back next, those before it served first, and a little longer by chance (`jitter`, in tokens), so that
many daemons do not ask in step.
"""

from random import random
from threading import Event, Lock
from time import monotonic


class TokenBucket:
    """Holds requests to a pace; any number of threads may take from it."""

    def __init__(self, per_second: float, burst: int = 5, jitter: float = 0.2) -> None:
        self._per_second = per_second
        self._burst = burst
        self._jitter = jitter
        self._tokens = float(burst)
        self._at = monotonic()
        self._lock = Lock()
        self._closed = Event()

    def take(self) -> bool:
        """Wait for a token; False, and at once, when the bucket is closed."""
        with self._lock:
            now = monotonic()
            ready = min(self._burst, self._tokens + (now - self._at) * self._per_second)
            self._tokens, self._at = ready - 1, now
            short = max(-self._tokens, 0)
        chance = self._jitter * random() if short else 0
        return not self._closed.wait((short + chance) / self._per_second)

    def close(self) -> None:
        """End all waiting; no token is given from now on."""
        self._closed.set()
