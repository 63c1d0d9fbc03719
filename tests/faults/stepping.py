"""A command of icebrick that says where it is: before and after each call of the cloud, the connector and the storage,
and round each mount.

The command is the real one. Only the three places that make what reaches outside the process are
replaced, by the same objects in a thin wrapper; so a call that a workflow gains one day is a step without more ado.

Two things that only cost time are left out: the pause in which others could see a lock, and the reading of holes.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from icebrick import app
from icebrick.attach import blockio, brick, direct
from icebrick.backend import durable
from icebrick.backend.base import Backend, BackendWrapper, Handle
from icebrick.blockdev import BlockTarget, Data, Extent
from icebrick.cli import main
from icebrick.cloud import session
from icebrick.repository import lock
from icebrick.workflow import readers
from icebrick.workflow.restoring import files


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, its environment, and the file that gets all it prints."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    output: Path


class Steps:
    """Announces each step on `line` and goes on when the other end answers. Steps have unique names."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._reached: Counter[str] = Counter()
        self._lock = threading.Lock()  # guards both: packs are saved by several threads

    def reach(self, step: str) -> None:
        with self._lock:
            self._reached[step] += 1
            count = self._reached[step]
            self._line.send(step if count == 1 else f"{step} ({count})")
            self._line.recv()

    @contextmanager
    def round(self, call: str) -> Iterator[None]:
        self.reach(f"before {call}")
        yield
        self.reach(f"after {call}")

    @contextmanager
    def round_block(self, call: str, block: AbstractContextManager[Any]) -> Iterator[Any]:
        self.reach(f"before {call}")
        with block as value:
            self.reach(f"after {call}")
            yield value
            self.reach(f"before the end of {call}")
        self.reach(f"after the end of {call}")


class SteppedCalls:
    """All that `inner` can do, each call of a method a step; `close` belongs to the process and is none."""

    def __init__(self, inner: Any, name: str, steps: Steps) -> None:
        self._inner = inner
        self._name = name
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return functools.partial(self._call, name, found) if callable(found) and name != "close" else found

    def _call(self, name: str, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        step = f"{self._name}.{name}"
        if name == "servers":  # what calls nobody yet
            return SteppedCalls(method(*args, **kwargs), "nova", self._steps)
        if name == "open_target":
            return self._steps.round_block(step, self._stepped_writes(method(*args, **kwargs)))
        if name.startswith("open_"):  # making the block does nothing yet
            return self._steps.round_block(step, method(*args, **kwargs))
        with self._steps.round(step):
            return method(*args, **kwargs)

    @contextmanager
    def _stepped_writes(self, block: AbstractContextManager[BlockTarget]) -> Iterator[BlockTarget]:
        with block as target:
            yield cast(BlockTarget, SteppedTarget(target, self._steps))


class SteppedTarget:
    """A device of which each write is a step; what else is done to it leaves nothing."""

    def __init__(self, inner: BlockTarget, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, offset: int, data: Data) -> None:
        with self._steps.round("device.write"):
            self._inner.write(offset, data)


class SteppedBackend(BackendWrapper):
    """Each change of the storage is a step; reads are not, they leave nothing."""

    def __init__(self, inner: Backend, steps: Steps) -> None:
        super().__init__(inner)
        self._steps = steps

    def save(self, handle: Handle, data: Data) -> None:
        with self._steps.round(f"backend.save {handle.type.value}"):
            super().save(handle, data)

    def remove(self, handle: Handle) -> None:
        with self._steps.round(f"backend.remove {handle.type.value}"):
            super().remove(handle)


def run_command(command: Command, line: Connection | None) -> None:
    """The process's whole life; with a `line` it is stepped."""
    with command.output.open("ab", buffering=0) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ.clear()
    os.environ.update(command.environment)
    lock.SETTLE_SECONDS = 0.0
    skip_holes_of_loop_devices()
    if line is not None:
        _step_all(Steps(line))
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    sys.exit(main.run(command.arguments, as_json=False))


def _step_all(steps: Steps) -> None:
    _wrap_made_by(session, "connect", lambda cloud: SteppedCalls(cloud, "cloud", steps))
    _wrap_made_by(brick, "BrickConnector", lambda connector: SteppedCalls(connector, "connector", steps))
    _wrap_made_by(app, "open_backend", lambda backend: SteppedBackend(backend, steps))
    for module, name in ((readers, "mounted_for_reading"), (files, "mounted_for_writing")):
        _wrap_made_by(module, name, functools.partial(steps.round_block, name))
    _step_inside_saves(steps)


def _wrap_made_by(module: ModuleType, name: str, wrap: Callable[[Any], Any]) -> None:
    """What calling `name` of the module makes is wrapped from now on. AttributeError when it has no such name."""
    make = getattr(module, name)
    setattr(module, name, lambda *args, **kwargs: wrap(make(*args, **kwargs)))


def _step_inside_saves(steps: Steps) -> None:
    """Where all is written and nothing has its name yet."""
    write_synced = durable._write_synced

    def step_after_writing(path: Path, data: Data, *, mode: int) -> None:
        write_synced(path, data, mode=mode)
        steps.reach("inside backend.save")

    durable._write_synced = step_after_writing


def skip_holes_of_loop_devices() -> None:
    """A volume of a gibibyte is the smallest there is; the file behind its device tells where it has data."""
    data_extents = blockio.data_extents

    def extents_of_file(fd: int, path: str, size: int) -> Iterator[Extent]:
        status = os.fstat(fd)
        if not stat.S_ISBLK(status.st_mode):
            yield from data_extents(fd, path, size)
            return
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        told = Path(f"/sys/dev/block/{number}/loop/backing_file")
        if not told.exists():  # another kind of device
            yield from data_extents(fd, path, size)
            return
        behind = told.read_text().rstrip("\n")
        with open(behind, "rb") as file:
            yield from data_extents(file.fileno(), behind, size)

    blockio.data_extents = direct.data_extents = extents_of_file
