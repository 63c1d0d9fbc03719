"""Opening devices that were attached, and images that a user names."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from icebrick.attach.base import HostDevice
from icebrick.attach.blockio import DeviceSource, DeviceTarget, device_errors
from icebrick.attach.direct import DirectSource
from icebrick.blockdev import BlockSource, BlockTarget
from icebrick.errors import AttachError, UsageError

_LOG = logging.getLogger(__name__)

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_SAFE = os.O_CLOEXEC | os.O_NONBLOCK  # opening a named pipe must not wait for its other end


# Devices that a connector made


@contextmanager
def open_device_source(path: str, *, size: int, is_file: bool = False, direct: bool = False) -> Iterator[BlockSource]:
    """The device at `path`, of at least `size` bytes, for reading. All failures are AttachError.

    It must be a block device; or a regular file if `is_file`, for storage that is one. The path came from
    elsewhere: a symbolic link to a file is never followed. `direct` reads past the page cache where possible.
    """
    with (
        open_host_device(path, size=size, is_file=is_file) as device,
        device.open_source(direct=direct) as source,
    ):
        yield source


@contextmanager
def open_device_target(path: str, *, size: int, is_file: bool = False) -> Iterator[BlockTarget]:
    """As `open_device_source`, for reading and writing; refused while anything else, as a mount, uses the device."""
    with (
        _attached(path, os.O_RDWR | os.O_EXCL, is_file=is_file) as fd,
        # What is compared before it is written is read once: it has no business in the page cache.
        _source(fd, path, _checked_size(fd, path, size), direct=True) as reader,
    ):
        yield DeviceTarget(fd, path, reader)


@contextmanager
def open_host_device(path: str, *, size: int, is_file: bool = False) -> Iterator[HostDevice]:
    """As `open_device_source`, for others to open too."""
    with open_attached(path, is_file=is_file) as opened:
        real = opened.path if opened.is_block else None
        yield _OpenDevice(opened.fd, path, _checked_size(opened.fd, path, size), real)


@dataclass(frozen=True, slots=True)
class Opened:
    """A device that is held open, so that its own name, `path`, cannot become that of another one meanwhile."""

    fd: int
    path: str
    is_block: bool


@contextmanager
def open_attached(path: str, *, is_file: bool = False) -> Iterator[Opened]:
    """What is at `path`, as `open_device_source` wants it, without looking at its size."""
    with _attached(path, os.O_RDONLY, is_file=is_file) as fd:
        is_block = stat.S_ISBLK(os.fstat(fd).st_mode)
        real = os.path.realpath(path) if is_block else path
        with device_errors(f"look up {path}"):
            if is_block and os.stat(real).st_rdev != os.fstat(fd).st_rdev:
                raise AttachError(f"{path} became another device when it was opened")
        yield Opened(fd, real, is_block)


class _OpenDevice(HostDevice):
    def __init__(self, fd: int, path: str, size: int, block_path: str | None) -> None:
        self._fd, self._path, self._size, self._block_path = fd, path, size, block_path

    @property
    def block_path(self) -> str | None:
        return self._block_path

    @property
    def size(self) -> int:
        return self._size

    def open_source(self, *, direct: bool = False) -> AbstractContextManager[BlockSource]:
        return _source(self._fd, self._path, self._size, direct=direct)


@contextmanager
def _attached(path: str, flags: int, *, is_file: bool) -> Iterator[int]:
    with device_errors(f"open device {path}"):
        try:
            fd = os.open(path, flags | _SAFE | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            fd, is_file = os.open(path, flags | _SAFE), False  # /dev/disk/by-path/... are links to block devices
    try:
        kind = os.fstat(fd).st_mode
        if not (stat.S_ISBLK(kind) or (is_file and stat.S_ISREG(kind))):
            raise AttachError(f"{path} is not a block device")
        yield fd
    finally:
        os.close(fd)


def _checked_size(fd: int, path: str, size: int) -> int:
    """What the device really has. Back ends may round up, and what is there may hold data; never down."""
    actual = _size(fd, path)
    if actual < size:
        raise AttachError(f"device {path} has {actual} bytes where {size} were promised")
    if actual > size:
        _LOG.warning("device is larger than the volume path=%s size=%d volume=%d", path, actual, size)
    return actual


# Images


@contextmanager
def open_image(path: str | os.PathLike[str], *, direct: bool = False) -> Iterator[BlockSource]:
    """A file or block device that the user names, for reading. UsageError when it is not there or neither."""
    name = os.fspath(path)
    with _named(name, os.O_RDONLY) as fd, _source(fd, name, _size(fd, name), direct=direct) as source:
        yield source


@contextmanager
def create_image(path: str | os.PathLike[str], size: int, *, replace: bool = False) -> Iterator[BlockTarget]:
    """An image to be written: a new sparse file of `size` bytes, or a block device that has at least as many.

    The file (0600) appears under its name when the block ends normally, whole and durable; otherwise nothing is
    left of it. UsageError when it exists and is not to be replaced, when the device is too small or in use.
    """
    name = os.fspath(path)
    if _is_block_device(name):
        with _named(name, os.O_RDWR | os.O_EXCL) as fd:
            actual = _size(fd, name)
            if actual < size:
                raise UsageError(f"device {name} has {actual} bytes, and the image needs {size}")
            yield DeviceTarget(fd, name, DeviceSource(fd, name, actual))
    else:
        _check_free(name, replace=replace)
        with _new_file(name, size, replace=replace) as target:
            yield target


@contextmanager
def _named(name: str, flags: int) -> Iterator[int]:
    try:
        fd = os.open(name, flags | _SAFE)
    except OSError as error:
        hint = "It is mounted or otherwise in use." if error.errno == errno.EBUSY else None
        raise UsageError(f"cannot open {name}: {error.strerror}", hint=hint) from error
    try:
        kind = os.fstat(fd).st_mode
        if not (stat.S_ISBLK(kind) or stat.S_ISREG(kind)):
            raise UsageError(f"{name} is neither a file nor a block device")
        yield fd
    finally:
        os.close(fd)


def _is_block_device(name: str) -> bool:
    try:
        return stat.S_ISBLK(os.stat(name).st_mode)
    except OSError:
        return False  # whatever is wrong with it is told when it is opened


def _check_free(name: str, *, replace: bool) -> None:
    try:
        kind = os.lstat(name).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot create {name}: {error.strerror}") from error
    if not stat.S_ISREG(kind):
        raise UsageError(f"{name} exists and is no regular file")
    if not replace:
        raise UsageError(f"{name} exists already", hint="Name another file, or replace it with --force.")


@contextmanager
def _new_file(name: str, size: int, *, replace: bool) -> Iterator[BlockTarget]:
    directory, base = os.path.split(name)
    unfinished = os.path.join(directory, f".{base}.icebrick-{secrets.token_hex(4)}")
    try:
        fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"cannot create {name}: {error.strerror}") from error
    with ExitStack() as undo:
        undo.callback(Path(unfinished).unlink, missing_ok=True)
        undo.callback(os.close, fd)
        with device_errors(f"make {name} {size} bytes long"):
            os.ftruncate(fd, size)
        yield DeviceTarget(fd, name, DeviceSource(fd, name, size))
        with device_errors(f"store {name}"):
            os.fsync(fd)
            _publish(unfinished, name, replace=replace)
            _sync_directory(directory)


def _publish(unfinished: str, name: str, *, replace: bool) -> None:
    """Give the file its name. A link, unlike a rename, never takes the place of what has appeared meanwhile."""
    if replace:
        os.rename(unfinished, name)
        return
    try:
        os.link(unfinished, name)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _check_free(name, replace=False)
        os.rename(unfinished, name)


def _sync_directory(directory: str) -> None:
    fd = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# Both


@contextmanager
def _source(fd: int, path: str, size: int, *, direct: bool) -> Iterator[BlockSource]:
    if direct and (direct_fd := _reopened_direct(fd)) is not None:
        try:
            yield DirectSource(direct_fd, path, size)
        finally:
            os.close(direct_fd)
        return
    # Read once from start to end; and what is cached already may not be what the storage holds.
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED if direct else os.POSIX_FADV_SEQUENTIAL)
    yield DeviceSource(fd, path, size)


def _reopened_direct(fd: int) -> int | None:
    """The same device again, past the page cache; None where its file system cannot."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        _LOG.debug("no direct reads: %s", error)
        return None


def _size(fd: int, path: str) -> int:
    """Of a file or a block device; the kernel tells both as where the end is."""
    with device_errors(f"measure {path}"):
        return os.lseek(fd, 0, os.SEEK_END)
