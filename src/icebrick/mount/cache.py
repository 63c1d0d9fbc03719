"""What was made at some cost, kept within a bound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Keeps what was used last, up to `limit` by the sum of what `weigh` says; for any thread."""

    def __init__(self, limit: int, weigh: Callable[[V], int]) -> None:
        self._limit, self._weigh = limit, weigh
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._weight = 0
        self._being_made: set[K] = set()
        self._changed = threading.Condition()  # guards the three above

    def get(self, key: K, make: Callable[[], V]) -> V:
        """What is kept under the key, else what `make` returns. Several that ask at once wait for one that makes it.

        An error of `make` is raised to that one; the next one tries again.
        """
        with self._changed:
            self._changed.wait_for(lambda: key not in self._being_made)
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            self._being_made.add(key)
        try:
            value = make()
            self._keep(key, value)
            return value
        finally:
            with self._changed:
                self._being_made.discard(key)
                self._changed.notify_all()

    def has(self, key: K) -> bool:
        """Whether it is there or on its way."""
        with self._changed:
            return key in self._kept or key in self._being_made

    def _keep(self, key: K, value: V) -> None:
        """The newest stays, however heavy it is."""
        with self._changed:
            self._kept[key] = value
            self._weight += self._weigh(value)
            while self._weight > self._limit and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._weight -= self._weigh(oldest)
