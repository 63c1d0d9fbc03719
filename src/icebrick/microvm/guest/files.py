"""Answers requests for what is in one mounted file system."""

from __future__ import annotations

import errno
import os
import stat

from icebrick.microvm import wire
from icebrick.microvm.guest.mounts import Mounted
from icebrick.microvm.guest.refusal import Refused

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SECOND = 10**9


class _Directory:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.scan: os._ScandirIterator[str] | None = None

    def close(self) -> None:
        if self.scan is not None:
            self.scan.close()
        os.close(self.fd)


class _File:
    """Read from start to end. Up to `data_end` there is no hole."""

    def __init__(self, fd: int, status: os.stat_result) -> None:
        self.fd, self.size, self.position = fd, status.st_size, 0
        self.data_end = status.st_size if status.st_blocks * 512 >= status.st_size else 0

    def close(self) -> None:
        os.close(self.fd)

    def part(self, length: int) -> tuple[bytes, bool]:
        """The next bytes as the wire has them, and whether they are the last."""
        hole = self._hole()
        self.position += hole
        wanted = min(length, wire.MAX_PART, max(self.data_end - self.position, 0) or length)
        data = os.pread(self.fd, wanted, self.position) if self.position < self.size else b""
        self.position += len(data)
        ended = not data or self.position >= self.size
        return wire.PART.pack(hole, ended, len(data)) + data, ended

    def _hole(self) -> int:
        if self.position < self.data_end or self.position >= self.size:
            return 0
        try:
            data = os.lseek(self.fd, self.position, os.SEEK_DATA)
            self.data_end = os.lseek(self.fd, data, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:
                self.data_end = self.size
                return 0
            data = self.data_end = self.size
        return max(0, data - self.position)


class Files:
    """The open directories and files of the host, by handle. Handles are never used again."""

    def __init__(self, mounted: Mounted) -> None:
        self._mounted = mounted
        self._open: dict[int, _Directory | _File] = {}
        self._last = 0
        self._device = 0
        self._operations = {
            wire.HELLO: self._hello,
            wire.MOUNT: self._mount,
            wire.UNMOUNT: self._unmount,
            wire.ENTER: self._enter,
            wire.LIST: self._list,
            wire.ATTRIBUTES: self._attributes,
            wire.LINK: self._link,
            wire.FETCH: self._fetch,
            wire.READ: self._read,
            wire.CLOSE: self._close,
        }

    def answer(self, operation: int, body: bytes) -> bytes:
        """OSError and Refused tell why not."""
        return self._operations[operation](body)

    def _keep(self, thing: _Directory | _File) -> int:
        self._last += 1
        self._open[self._last] = thing
        return self._last

    def _directory(self, body: bytes) -> tuple[_Directory, str]:
        """That of the handle at the start, and the name that follows."""
        (handle,) = wire.NUMBER.unpack_from(body)
        return self._opened(handle), body[wire.NUMBER.size :].decode("utf-8", "surrogateescape")

    def _opened(self, handle: int) -> _Directory:
        found = self._open.get(handle)
        if not isinstance(found, _Directory):
            raise OSError(errno.EBADF, "no such directory")
        return found

    def _hello(self, body: bytes) -> bytes:
        return wire.NUMBER.pack(wire.VERSION)

    def _mount(self, body: bytes) -> bytes:
        self._unmount(b"")
        disk, file_system = body[0], body[1:].decode("ascii")
        fd = self._mounted.mount(disk, file_system)
        status = os.fstat(fd)
        self._device = status.st_dev
        handle = self._keep(_Directory(fd))
        return wire.MOUNTED.pack(handle, self._mounted.has_subvolumes(fd)) + _status(status)

    def _unmount(self, body: bytes) -> bytes:
        while self._open:
            self._open.popitem()[1].close()
        self._mounted.unmount()
        return b""

    def _enter(self, body: bytes) -> bytes:
        above, name = self._directory(body)
        fd = os.open(name, _DIRECTORY, dir_fd=above.fd)
        status = os.fstat(fd)
        if status.st_dev != self._device:
            os.close(fd)
            raise Refused(wire.OTHER_FILE_SYSTEM)
        return wire.NUMBER.pack(self._keep(_Directory(fd))) + _status(status)

    def _list(self, body: bytes) -> bytes:
        directory, _ = self._directory(body)
        if directory.scan is None:
            directory.scan = os.scandir(directory.fd)
        answer, count, more = bytearray(wire.LISTED.size), 0, 0
        for entry in directory.scan:
            answer += _examined(entry)
            count += 1
            if len(answer) > wire.FULL:
                more = 1
                break
        else:
            directory.scan.close()
            directory.scan = None
        wire.LISTED.pack_into(answer, 0, more, count)
        return bytes(answer)

    def _attributes(self, body: bytes) -> bytes:
        directory, name = self._directory(body)
        # links and devices have no descriptors that could be asked
        return _attributes(f"/proc/self/fd/{directory.fd}/{name}" if name else directory.fd)

    def _link(self, body: bytes) -> bytes:
        directory, name = self._directory(body)
        return os.fsencode(os.readlink(name, dir_fd=directory.fd))

    def _fetch(self, body: bytes) -> bytes:
        handle, length, count = wire.FETCHING.unpack_from(body)
        directory, place = self._opened(handle), wire.FETCHING.size
        answer = bytearray()
        for _ in range(count):
            (size,) = wire.SHORT.unpack_from(body, place)
            place += wire.SHORT.size
            name, place = body[place : place + size].decode("utf-8", "surrogateescape"), place + size
            answer += self._fetched(directory, name, length) if len(answer) < wire.FULL else _not(wire.NOT_NOW)
        return bytes(answer)

    def _fetched(self, directory: _Directory, name: str, length: int) -> bytes:
        try:
            fd = os.open(name, _FILE, dir_fd=directory.fd)
        except OSError as error:
            return _not(error.errno or errno.EIO)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            return _not(wire.NOT_REGULAR)
        file = _File(fd, status)
        attributes = _attributes_or_reason(fd)
        try:
            part, ended = file.part(length)
        except OSError:
            part, ended = wire.PART.pack(0, 0, 0), False  # what is wrong is told by the READ that follows
        if ended:
            file.close()
        return wire.FETCHED.pack(0, 0 if ended else self._keep(file)) + attributes + part

    def _read(self, body: bytes) -> bytes:
        handle, length = wire.READING.unpack(body)
        file = self._open.get(handle)
        if not isinstance(file, _File):
            raise OSError(errno.EBADF, "no such file")
        return file.part(length)[0]

    def _close(self, body: bytes) -> bytes:
        (handle,) = wire.NUMBER.unpack(body)
        thing = self._open.pop(handle, None)
        if thing is not None:
            thing.close()
        return b""


def _examined(entry: os.DirEntry[str]) -> bytes:
    name = entry.name.encode("utf-8", "surrogateescape")
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        return wire.EXAMINED.pack(error.errno or errno.EIO, len(name)) + name
    return wire.EXAMINED.pack(0, len(name)) + name + _status(status)


def _status(status: os.stat_result) -> bytes:
    return wire.STATUS.pack(
        status.st_mode,
        status.st_uid,
        status.st_gid,
        *divmod(status.st_mtime_ns, _SECOND),
        *divmod(status.st_ctime_ns, _SECOND),
        status.st_ino,
        status.st_nlink & 0xFFFFFFFF,
        status.st_size,
        status.st_rdev,
    )


def _not(reason: int) -> bytes:
    return wire.FETCHED.pack(reason, 0)


def _attributes_or_reason(fd: int) -> bytes:
    """A reason, 0 for none, and the attributes behind it, with their length."""
    try:
        found = _attributes(fd)
    except OSError as error:
        return wire.NUMBER.pack(error.errno or errno.EIO)
    except Refused as refusal:
        return wire.NUMBER.pack(refusal.reason)
    return wire.NUMBER.pack(0) + wire.NUMBER.pack(len(found)) + found


def _attributes(where: str | int) -> bytes:
    """Of an open file, or of what a path leads to, which is not followed if it is a link."""
    follow = isinstance(where, int)
    found = bytearray()
    try:
        for name in os.listxattr(where, follow_symlinks=follow):
            value = os.getxattr(where, name, follow_symlinks=follow)
            found += wire.pack_text(os.fsencode(name)) + wire.NUMBER.pack(len(value)) + value
            if len(found) > wire.MAX_ATTRIBUTES:
                raise Refused(wire.TOO_MANY_ATTRIBUTES)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return b""
    return bytes(found)
