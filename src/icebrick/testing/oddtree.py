"""A tree of files with everything that a file system can hold, and a description of any tree to compare by.

Neither uses anything of ours, so they can judge it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import socket
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SECOND = 10**9
_OLD = 1_500_000_000 * _SECOND
_CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service, effective
_USER_OBJECT, _USER, _GROUP_OBJECT, _MASK, _OTHER = 1, 2, 4, 16, 32
_NOBODY = 0xFFFFFFFF


def acl(*entries: tuple[int, int, int]) -> bytes:
    """The value of a POSIX ACL's extended attribute, of (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ACL = acl(
    (_USER_OBJECT, 6, _NOBODY),
    (_USER, 4, 1234),
    (_GROUP_OBJECT, 4, _NOBODY),
    (_MASK, 6, _NOBODY),
    (_OTHER, 0, _NOBODY),
)


def plant(root: Path, *, entries: int = 300, privileged: bool = True) -> None:
    """Fill the directory. Only root can make what is `privileged`: devices, owners, capabilities and the like."""
    _plant_files(root)
    _plant_names(root, entries)
    _plant_links(root)
    _plant_attributes(root)
    if privileged:
        _plant_privileged(root)
    for number, (folder, _, names) in enumerate(os.walk(os.fsencode(root), topdown=False)):
        for name in names:
            path = os.path.join(folder, name)
            os.utime(path, ns=(_OLD, _OLD + number * _SECOND + len(name)), follow_symlinks=False)
        os.utime(folder, ns=(_OLD, _OLD + 5 * _SECOND + number))
    os.utime(root / "files" / "before 1970", ns=(-1, -2 * _SECOND + 3))
    os.utime(root / "files" / "in 2200", ns=(_OLD, 7_258_118_400 * _SECOND + 999_999_999))


def _plant_files(root: Path) -> None:
    folder = root / "files"
    folder.mkdir()
    (folder / "empty").touch()
    (folder / "small").write_bytes(b"a few bytes")
    (folder / "large").write_bytes(random.Random(1).randbytes(9_300_001))  # noqa: S311 - the same in every run
    for name in ("before 1970", "in 2200"):
        (folder / name).write_bytes(name.encode())
    with (folder / "sparse").open("wb") as file:
        file.seek(8 << 20)
        file.write(b"in the middle of nothing")
        file.truncate((20 << 20) + 5)
    with (folder / "all hole").open("wb") as file:
        file.truncate(3 << 20)
    for number, mode in enumerate((0o000, 0o111, 0o4755, 0o2755, 0o1644, 0o777)):
        path = folder / f"mode {number}"
        path.write_bytes(b"x")
        path.chmod(mode)


def _plant_names(root: Path, entries: int) -> None:
    folder = os.fsencode(root / "names")
    os.mkdir(folder)
    for name in (
        b"not \xff\xfe utf-8",
        b'"quoted\\"',
        b"line\nbreak",
        b"-rf *",
        b"tab\t",
        "größe".encode(),
        b"n" * 255,
    ):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(name)
    os.mkdir(os.path.join(folder, b"folder \xe9"))
    many = root / "many"
    many.mkdir()
    for number in range(entries):
        (many / f"{number}").touch()
    deep = root / "deep"
    for number in range(60):
        deep = deep / f"level {number}"
    deep.mkdir(parents=True)
    (deep / "bottom").write_bytes(b"found")


def _plant_links(root: Path) -> None:
    folder = root / "links"
    (folder / "below").mkdir(parents=True)
    (folder / "one").write_bytes(b"three names")
    os.link(folder / "one", folder / "another")
    os.link(folder / "one", folder / "below" / "third")
    os.symlink("one", folder / "relative")
    os.symlink("/etc/passwd", folder / "absolute")
    os.symlink(b"to \xff nowhere", os.fsencode(folder / "dangling"))
    os.symlink("x" * 1000, folder / "long")
    os.link(folder / "relative", folder / "relative too", follow_symlinks=False)
    os.symlink("below", folder / "to a folder")


def _plant_attributes(root: Path) -> None:
    folder = root / "attributes"
    folder.mkdir()
    (folder / "user").write_bytes(b"x")
    os.setxattr(folder / "user", "user.text", b"value")
    os.setxattr(folder / "user", "user.bytes", bytes(range(256)))
    os.setxattr(folder / "user", "user.empty", b"")
    (folder / "acl").write_bytes(b"x")
    os.setxattr(folder / "acl", "system.posix_acl_access", ACL)
    (folder / "inherits").mkdir()
    os.setxattr(folder / "inherits", "user.folder", b"yes")
    os.mkfifo(folder / "fifo", 0o640)
    os.link(folder / "fifo", folder / "fifo too")
    with socket.socket(socket.AF_UNIX) as listening:
        where = os.open(folder, os.O_PATH)
        listening.bind(f"/proc/self/fd/{where}/socket")
        os.close(where)
    (folder / "inherits" / "child").write_bytes(b"x")
    os.setxattr(folder / "inherits", "system.posix_acl_default", ACL)
    (folder / "inherits" / "heir").write_bytes(b"x")


def _plant_privileged(root: Path) -> None:
    folder = root / "privileged"
    folder.mkdir()
    os.mknod(folder / "character", stat.S_IFCHR | 0o620, os.makedev(4, 300))
    os.mknod(folder / "block", stat.S_IFBLK | 0o660, os.makedev(259, 70_000))
    (folder / "trusted").write_bytes(b"x")
    os.setxattr(folder / "trusted", "trusted.secret", b"\0\1")
    (folder / "capable").write_bytes(b"x")
    os.setxattr(folder / "capable", "security.capability", _CAPABILITY)
    os.symlink("nowhere", folder / "owned link")
    os.setxattr(folder / "owned link", "trusted.of.link", b"link", follow_symlinks=False)
    for number, name in enumerate(("owned", "owned and setuid")):
        (folder / name).write_bytes(b"x")
        os.chown(folder / name, 1000 + number, 4_000_000_000)
    (folder / "owned and setuid").chmod(0o6711)
    os.chown(folder / "owned link", 1, 2, follow_symlinks=False)
    os.chown(folder, 65534, 65533)
    folder.chmod(0o1730)


@dataclass(frozen=True, slots=True)
class Described:
    """An entry of a tree; `same_as` is the first of its names, in order, when it has several."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    rdev: int
    links: int
    same_as: bytes
    target: bytes
    content: str
    attributes: Mapping[str, bytes] = field(hash=False)


def describe(root: Path | int) -> dict[bytes, Described]:
    """All entries by their paths, the root as b"."; the root's own number of links and that of directories is 0."""
    where = os.fsencode(root) if isinstance(root, Path) else b"/proc/self/fd/%d" % root
    first: dict[tuple[int, int], bytes] = {}
    found: dict[bytes, Described] = {}
    for folder, folders, names in os.walk(where, onerror=_raise):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted([*names, *links, b"."]):
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, where)
            status = os.lstat(path)
            inode = (status.st_dev, status.st_ino)
            same_as = first.setdefault(inode, relative) if not stat.S_ISDIR(status.st_mode) else b""
            found[relative] = _described(path, status, same_as)
    return found


def _raise(error: OSError) -> None:
    raise error


def _described(path: bytes, status: os.stat_result, same_as: bytes) -> Described:
    is_directory, is_link = stat.S_ISDIR(status.st_mode), stat.S_ISLNK(status.st_mode)
    is_file = stat.S_ISREG(status.st_mode)
    return Described(
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        status.st_size if is_file else 0,
        status.st_rdev if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode) else 0,
        0 if is_directory else status.st_nlink,
        same_as,
        os.readlink(path) if is_link else b"",
        _hash(path) if is_file else "",
        _attributes(path),
    )


def _attributes(path: bytes) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # so answers restic's mount for what is neither file nor directory
            raise
        return {}
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _hash(path: bytes) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
