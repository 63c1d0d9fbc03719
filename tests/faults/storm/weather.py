"""What goes wrong in one run, all drawn from its seed: calls that fail, a storage that fails, little quota, Ctrl-C."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from random import Random

from tests.faults.storm.world import World

from icebrick.backend.base import Backend, BackendWrapper, Handle
from icebrick.blockdev import Data
from icebrick.errors import (
    AccessForbiddenError,
    AttachError,
    CloudError,
    CloudUnavailableError,
    QuotaError,
    StorageFullError,
    UnexpectedStateError,
)
from icebrick.testing.faultplan import Chances, RandomFaults
from icebrick.testing.faults import FaultyBackend, Kind, random_faults
from icebrick.testing.turns import Turns

_REFUSALS = (CloudUnavailableError, CloudError, UnexpectedStateError)
_CLOUD_ERRORS = {
    "*": _REFUSALS,
    "in_project": (CloudUnavailableError, AccessForbiddenError),
    **dict.fromkeys(
        ("create_volume", "create_clone", "create_snapshot", "create_group_snapshot", "accept_transfer"),
        (*_REFUSALS, QuotaError),
    ),
}
_RATES = (0.0, 0.002, 0.01, 0.03, 0.1)
"""Of calls that fail; the last is a cloud in which hardly anything works."""
_MOST_TURNS = 3000
_BACKEND_CALLS = 400


@dataclass(frozen=True, slots=True)
class Weather:
    """Begun by `break_out`."""

    cloud: RandomFaults
    connector: RandomFaults
    told: str
    """What it is like, for people."""

    @property
    def met(self) -> tuple[str, ...]:
        """What failed on purpose in the cloud and on the host."""
        return (*self.cloud.met, *self.connector.met)


def break_out(world: World, chance: Random, turns: Turns) -> Weather:
    """From now on things go wrong; until `world.calm`."""
    rate, lost, host = chance.choice(_RATES), chance.choice(_RATES) / 2, chance.choice(_RATES)
    cloud = RandomFaults(chance, Chances(rate, lost, _CLOUD_ERRORS, CloudUnavailableError), turns.wait)
    connector = RandomFaults(chance, Chances(host, host / 2, {"*": (AttachError,)}, AttachError), turns.wait)
    for each in world.clouds.values():
        each.faults = cloud
    world.connector.faults = connector
    told = [f"cloud={rate} lost={lost} host={host}"]
    if chance.random() < 0.3:
        world.records.quota = chance.randrange(8, 40)
        told.append(f"quota={world.records.quota}")
    if chance.random() < 0.4:
        told.append(_spoil_storage(world, chance, turns))
    if chance.random() < 0.25:
        turn = chance.randrange(1, _MOST_TURNS)
        turns.interrupt(turn, lambda: signal.raise_signal(signal.SIGINT))
        told.append(f"interrupted at turn {turn}")
    return Weather(cloud, connector, ", ".join(told))


def _spoil_storage(world: World, chance: Random, turns: Turns) -> str:
    rate, breaks = chance.choice(_RATES), chance.choice((None, chance.randrange(1, 60)))
    seed = chance.getrandbits(32)

    def wrap(backend: Backend) -> Backend:
        faults = random_faults(seed, rate=rate, calls=_BACKEND_CALLS, kinds=(Kind.BEFORE, Kind.AFTER, Kind.TORN))
        return FullBackend(FaultyBackend(backend, faults, seed=seed), turns, breaks)

    world.wrap = wrap
    return f"storage={rate}" + ("" if breaks is None else f" full after {breaks} files")


class FullBackend(BackendWrapper):
    """Each call gives way to others; from the `breaks`-th save on there is no room (never, when None)."""

    def __init__(self, inner: Backend, turns: Turns, breaks: int | None) -> None:
        super().__init__(inner)
        self._turns, self._left = turns, breaks

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        self._turns.wait()
        return super().load(handle, offset=offset, length=length)

    def save(self, handle: Handle, data: Data) -> None:
        self._turns.wait()
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise StorageFullError(f"injected: no room for {handle}")
        super().save(handle, data)

    def remove(self, handle: Handle) -> None:
        self._turns.wait()
        super().remove(handle)
