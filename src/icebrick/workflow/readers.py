"""Who reads the file system of a clone: this host's kernel, or one in a throw-away virtual machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from icebrick.cloud.base import Mode
from icebrick.engine.file.base import FileTree
from icebrick.engine.file.guesttree import mounted
from icebrick.engine.file.hosttree import HostTree
from icebrick.errors import FileSystemError
from icebrick.filesystem.base import FOREIGN_TYPES, TYPES, FileSystem, Unsuitable
from icebrick.filesystem.detect import detect
from icebrick.filesystem.mount import has_subvolumes, mounted_for_reading
from icebrick.microvm.accelerator import working_accelerator
from icebrick.microvm.channel import Patience
from icebrick.microvm.image import load_image
from icebrick.microvm.machine import started
from icebrick.microvm.qemu import Limits
from icebrick.parallel import Stop, default_threads

if TYPE_CHECKING:
    from icebrick.attach.base import HostDevice


class NoFiles(Exception):
    """Why a volume cannot be read file by file."""


class FileReader(Protocol):
    """Reads the file system that is all of a device."""

    mode: Mode
    """How the device must be attached. What is attached for reading only is unchanged afterwards, whatever happens."""
    types: Collection[str]
    """Of the file systems that it can read."""

    def opened(self, device: HostDevice, file_system: FileSystem) -> AbstractContextManager[FileTree]:
        """Its files, until the block ends; NoFiles when it cannot be mounted. ReaderError."""


class HostReader(FileReader):
    """Mounts it on this host, which writes to it: its journal is replayed."""

    mode = Mode.WRITE
    types = TYPES

    @contextmanager
    def opened(self, device: HostDevice, file_system: FileSystem) -> Iterator[FileTree]:
        with ExitStack() as stack:
            try:
                assert device.block_path is not None, "what has a file system has a path"
                root = stack.enter_context(mounted_for_reading(device.block_path, file_system.type))
                if file_system.type == "btrfs" and has_subvolumes(root):
                    raise NoFiles(_SUBVOLUMES)
            except (FileSystemError, OSError) as error:
                raise NoFiles(str(error)) from error
            yield HostTree(root)


@dataclass(frozen=True, slots=True)
class IsolatedReader(FileReader):
    """Starts a virtual machine for each device; `directory` is where what they start from is kept.

    What it replays and changes is thrown away with it. Not more of them run at once than there are processors: the
    others wait.
    """

    directory: Path
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    stop: Stop = field(default_factory=Stop)
    _turns: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(default_threads()))

    mode = Mode.READ
    types = (*TYPES, *FOREIGN_TYPES)

    @contextmanager
    def opened(self, device: HostDevice, file_system: FileSystem) -> Iterator[FileTree]:
        assert device.block_path is not None, "what has a file system has a path"
        with ExitStack() as stack:
            image = load_image(self.directory)
            if file_system.type not in image.types:
                raise NoFiles(f"the reader has no program for {file_system.type}, which Debian has in ntfs-3g")
            accelerator = working_accelerator(image, self.directory)
            stack.enter_context(self._turns)
            self.stop.check()
            disk = _open(device.block_path)
            stack.callback(os.close, disk)
            channel = stack.enter_context(
                started(image, [disk], accelerator, self.limits, self.patience, stop=self.stop)
            )
            try:
                tree = mounted(channel, file_system.type)
            except FileSystemError as error:
                raise NoFiles(str(error)) from error
            if tree.has_subvolumes:
                raise NoFiles(_SUBVOLUMES)
            yield tree


_SUBVOLUMES = "the volume holds a btrfs with subvolumes"


def find_file_system(device: HostDevice, types: Collection[str]) -> FileSystem:
    """NoFiles when there is none of these types that is all of the device; FileSystemError when that cannot be told."""
    if device.block_path is None:
        raise NoFiles("the storage shows this host a file, which cannot be mounted")
    found = detect(device.block_path, types)
    if isinstance(found, Unsuitable):
        raise NoFiles(f"the volume holds {found.reason}")
    return found


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise FileSystemError(f"cannot open {path}: {error.strerror}") from error
