"""A device of this host that is thrown away: a file without a name, as a loop device. Needs root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from icebrick.attach.base import HostDevice
from icebrick.attach.device import open_device_source, open_device_target, open_host_device
from icebrick.blockdev import BlockSource, BlockTarget
from icebrick.cloud.base import Mode, Volume
from icebrick.errors import FileSystemError, UsageError
from icebrick.filesystem.programs import run_program
from icebrick.workflow.restoring.content import VolumeDevices

_SECTOR = 4096


@contextmanager
def scratch_device(path: Path, size: int) -> Iterator[VolumeDevices]:
    """One of `size` bytes, rounded up; whatever volume it is asked for, it is that one.

    The file has its name for a moment only, and the device goes with its last user: nothing stays, even when the
    process is killed. UsageError when there is something at `path`, or it cannot be made.
    """
    length = -(-size // _SECTOR) * _SECTOR
    device = _attached(path, length)
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        run_program(["losetup", "--detach", device])  # when nobody has it open any more
        yield _LoopDevice(device, length)
    finally:
        os.close(descriptor)


def _attached(path: Path, length: int) -> str:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"cannot make scratch file {path}: {error.strerror}", hint="It is made and removed by the drill."
        ) from error
    try:
        os.ftruncate(descriptor, length)
        return run_program(["losetup", "--find", "--show", "--", str(path)]).strip()
    except FileSystemError as error:
        raise FileSystemError(str(error), hint="A drill on this host needs root: it makes a loop device.") from error
    except OSError as error:
        raise UsageError(f"cannot make scratch file {path} of {length} bytes: {error.strerror}") from error
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _LoopDevice(VolumeDevices):
    path: str
    size: int

    def device(self, volume: Volume, mode: Mode) -> AbstractContextManager[HostDevice]:
        return open_host_device(self.path, size=self.size)

    def readable(self, volume: Volume, *, direct: bool = False) -> AbstractContextManager[BlockSource]:
        return open_device_source(self.path, size=self.size, direct=direct)

    def writable(self, volume: Volume) -> AbstractContextManager[BlockTarget]:
        return open_device_target(self.path, size=self.size)
