"""A process that dies at a call: nothing it does afterwards has an effect, in the cloud, on the host or in storage."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from tests.faults.storm.world import Ran, World

from icebrick.backend.base import Backend, BackendWrapper, FileInfo, FileType, Handle
from icebrick.blockdev import Data
from icebrick.testing.faultplan import FaultPlan
from icebrick.testing.faults import Death
from icebrick.testing.turns import Turns
from icebrick.workflow import readers
from icebrick.workflow.restoring import files


class Doom(FaultPlan):
    """Dies at the `at`-th step, counted from 1; lives when that is None. `steps` are those that were reached."""

    def __init__(self, at: int | None, turns: Turns) -> None:
        super().__init__()
        self.steps: list[str] = []
        self._at, self._turns = at, turns
        self._dead = False

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        self.reach(call)
        yield
        self.check()  # somebody else may have died meanwhile

    def reach(self, step: str) -> None:
        """Dies here, or goes on."""
        self._turns.wait()
        self.check()
        self.steps.append(step)
        if len(self.steps) == self._at:
            self._dead = True
            raise Death(step)

    def check(self) -> None:
        if self._dead:
            raise Death("dead already")


class DoomedBackend(BackendWrapper):
    """Each change is a step; the dead do not read either."""

    def __init__(self, inner: Backend, doom: Doom) -> None:
        super().__init__(inner)
        self._doom = doom

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        self._doom.check()
        return super().load(handle, offset=offset, length=length)

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        self._doom.check()
        return super().list_files(file_type)

    def save(self, handle: Handle, data: Data) -> None:
        self._doom.reach(f"save {handle.type.value}")
        super().save(handle, data)

    def remove(self, handle: Handle) -> None:
        self._doom.reach(f"remove {handle.type.value}")
        super().remove(handle)


@contextmanager
def _stepped_mounts(doom: Doom) -> Iterator[None]:
    """A file system is mounted, and let go, at steps of their own."""
    with ExitStack() as stack:
        for module, name in ((readers, "mounted_for_reading"), (files, "mounted_for_writing")):
            stack.enter_context(patch.object(module, name, functools.partial(_mounted, getattr(module, name), doom)))
        yield


@contextmanager
def _mounted(mount: Callable[..., AbstractContextManager[int]], doom: Doom, *arguments: Any) -> Iterator[int]:
    doom.reach("mount")
    with mount(*arguments) as root:
        yield root
        doom.reach("unmount")


def die(world: World, at: int | None, turns: Turns, *arguments: str) -> tuple[Doom, Ran | None]:
    """Run a command that dies at this step; None when it did. Afterwards nothing fails."""
    doom = Doom(at, turns)
    for cloud in world.clouds.values():
        cloud.faults = doom
    world.connector.faults = doom
    world.wrap = lambda backend: DoomedBackend(backend, doom)
    ran = None
    try:
        with _stepped_mounts(doom):
            ran = world.command(*arguments, turns=turns)
    except Death:
        for backend in world.backends.values():  # the process is not gone, so nobody would take its lock for stale
            for info in list(backend.list_files(FileType.LOCK)):
                backend.remove(info.handle)
    world.calm()
    return doom, ran
