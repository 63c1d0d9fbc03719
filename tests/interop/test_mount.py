"""The mount as other programs see it: the kernel's file systems, an independent walk, and restic's mount beside it."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from icebrick.attach.device import open_image
from icebrick.backend.local import LocalBackend
from icebrick.errors import RepositoryLockedError
from icebrick.repository.repository import open_repository
from icebrick.testing.images import PASSWORD, save_backup, small_repository
from icebrick.testing.loopdevice import loop_device
from icebrick.testing.mounts import mounting
from icebrick.testing.oddtree import Described, describe, plant
from icebrick.testing.restic import Restic
from icebrick.testing.storedtrees import save_folder

pytestmark = pytest.mark.slow
ICEBRICK = str(Path(sys.executable).with_name("icebrick"))
MIB = 1 << 20


@pytest.fixture(scope="module")
def fuse(require: Callable[[str, Any, str], None]) -> None:
    require("fuse", os.access("/dev/fuse", os.R_OK | os.W_OK), "no /dev/fuse")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd") / "tree"
    folder.mkdir()
    plant(folder, entries=300, privileged=os.geteuid() == 0)
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ext4 with a few files, and random data in 40 MiB."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "content").mkdir()
    (folder / "content" / "hello").write_text("hello\n")
    (folder / "content" / "noise").write_bytes(random.Random(1).randbytes(9 * MIB))
    path = folder / "disk.raw"
    with path.open("wb") as file:
        file.truncate(40 * MIB + 4096)
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", "-d", folder / "content", path], check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def program(restic: str, planted: Path, image: Path, tmp_path_factory: pytest.TempPathFactory) -> Restic:
    """Pointed at a repository with the tree, as ours and as restic's, and the image."""
    path = tmp_path_factory.mktemp("mounted") / "repository"
    stock = Restic(restic, path, PASSWORD.reveal())
    with closing(LocalBackend(path)) as backend:
        repository = small_repository(backend)
        save_folder(repository, planted, 3600)
        with open_image(image) as source:
            save_backup(repository, source)
    stock.run("backup", "--quiet", "--host", "stock", str(planted))
    return stock


@pytest.fixture(scope="module")
def mount(program: Restic, fuse: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    where = tmp_path_factory.mktemp("where") / "mount"
    with mounting([ICEBRICK, "mount", str(where)], where, program.environment):
        yield where


@pytest.fixture
def raw(mount: Path, program: Restic) -> Path:
    """The image in the mount."""
    return mount / "ids" / snapshot_of(program, "/volume") / "volume.raw"


def snapshot_of(program: Restic, path: str) -> str:
    (found,) = [each["short_id"] for each in program.json("snapshots") if each["paths"] == [path]]
    return str(found)


def below(described: Mapping[bytes, Described]) -> dict[bytes, Described]:
    """Without the root: a snapshot may not have it."""
    return {path: entry for path, entry in described.items() if path != b"."}


def test_a_walk_finds_every_entry_as_it_was_backed_up(mount: Path, planted: Path) -> None:
    found, there = describe(mount / "volumes" / "v1" / "latest" / "files"), describe(planted)
    assert as_told(below(found)) == as_told(below(there))


def as_told(described: Mapping[bytes, Described]) -> dict[bytes, Described]:
    """Without how many names fifos and the like have, which no snapshot tells, but only which these are."""
    kept = (stat.S_ISREG, stat.S_ISLNK)
    return {
        path: entry if any(is_one(entry.mode) for is_one in kept) else replace(entry, links=0)
        for path, entry in described.items()
    }


def test_a_walk_finds_what_it_finds_in_restics_mount(mount: Path, program: Restic, planted: Path, root: None) -> None:
    short_id = snapshot_of(program, str(planted))
    where = mount.parent / "theirs"
    with mounting([program.program, "--no-cache", "mount", str(where)], where, program.environment):
        theirs = describe(where / "ids" / short_id / str(planted).lstrip("/"))
    ours = describe(mount / "ids" / short_id / str(planted).lstrip("/"))
    assert len(ours) > 300
    ours, theirs = as_restic_mounts(below(ours)), as_restic_mounts(below(theirs))
    assert {path: entry for path, entry in ours.items() if theirs.get(path) != entry} == {}
    assert theirs.keys() == ours.keys()


def as_restic_mounts(described: Mapping[bytes, Described]) -> dict[bytes, Described]:
    """Less what the mount of Debian 12's restic does not show.

    Those are sockets, which names belong to one file, numbers of devices, setuid and the like, times before 1970,
    extended attributes of links, and their targets where they are not UTF-8.
    """
    shown = {}
    for path, whole in described.items():
        entry = replace(whole, mode=whole.mode & ~0o7000)
        if stat.S_ISLNK(entry.mode):
            target = entry.target.decode(errors="replace").encode()
            shown[path] = replace(entry, links=0, same_as=b"", target=target, attributes={})
        elif not stat.S_ISSOCK(entry.mode) and not path.endswith(b"before 1970"):
            shown[path] = replace(entry, links=0, same_as=b"", rdev=0)
    return shown


def test_an_image_is_read_at_any_place(raw: Path, image: Path) -> None:
    chance, content = random.Random(3), image.read_bytes()
    with raw.open("rb", buffering=0) as file:
        for _ in range(200):
            offset, length = chance.randrange(len(content)), chance.choice([1, 4096, 3 * MIB])
            file.seek(offset)
            assert file.read(length) == content[offset : offset + length]


def test_an_image_is_read_from_end_to_end(raw: Path, image: Path) -> None:
    assert raw.read_bytes() == image.read_bytes()


@pytest.mark.usefixtures("root")
def test_an_image_is_a_device_that_the_kernel_mounts(raw: Path, tmp_path: Path) -> None:
    where = tmp_path / "inside"
    where.mkdir()
    with loop_device(raw, read_only=True) as device:
        subprocess.run(["mount", "-t", "ext4", "-o", "ro,noload", device, where], check=True)
        try:
            assert (where / "hello").read_text() == "hello\n"
            assert (where / "noise").read_bytes() == random.Random(1).randbytes(9 * MIB)
        finally:
            subprocess.run(["umount", where], check=True)


def test_nothing_can_be_written_nor_made_nor_run(mount: Path, raw: Path) -> None:
    for change in (
        partial(raw.open, "r+b"),
        (mount / "new").touch,
        partial((mount / "ids").rename, mount / "other"),
        raw.unlink,
        partial(raw.chmod, 0o777),
        partial(os.setxattr, raw, "user.x", b"x"),
    ):
        with pytest.raises(OSError) as caught:
            change()
        assert caught.value.errno == errno.EROFS
    options = next(line.split()[3] for line in Path("/proc/mounts").read_text().splitlines() if str(mount) in line)
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(options.split(","))


def test_what_is_not_there_is_not_there(mount: Path) -> None:
    for path in ("nothing", "ids/00000000", "snapshots/latest/nothing", "volumes/v1/latest/files/nothing"):
        with pytest.raises(FileNotFoundError):
            (mount / path).stat()


def test_the_repository_is_locked_as_long_as_it_is_mounted(mount: Path, program: Restic) -> None:
    with closing(LocalBackend(program.repository)) as backend:
        repository = open_repository(backend, PASSWORD)
        with pytest.raises(RepositoryLockedError), repository.lock(exclusive=True):
            pass
        with repository.lock():
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_although_something_is_open(
    program: Restic, fuse: None, tmp_path: Path, number: signal.Signals
) -> None:
    where, others = tmp_path / "mount", locks(program)
    with mounting([ICEBRICK, "mount", str(where)], where, program.environment) as process:
        path = where / "ids" / snapshot_of(program, "/volume") / "volume.raw"
        file = os.open(path, os.O_RDONLY)
        process.send_signal(number)
        assert process.wait(20) == 0
        assert not os.path.ismount(where)
        with pytest.raises(OSError):
            os.pread(file, MIB, 30 * MIB)
        with suppress(OSError):
            os.close(file)
    assert locks(program) == others


def test_unmounting_ends_it(program: Restic, fuse: None, root: None, tmp_path: Path) -> None:
    where = tmp_path / "mount"
    others = locks(program)
    with mounting([ICEBRICK, "--json", "mount", str(where)], where, program.environment) as process:
        assert len(locks(program)) == len(others) + 1
        subprocess.run(["umount", where], check=True)
        assert process.wait(20) == 0
    (told,) = (tmp_path / "mount.log").read_text().splitlines()
    assert json.loads(told) == {"message_type": "mounted", "mountpoint": str(where)}
    assert locks(program) == others


def test_where_a_killed_mount_is_left_the_next_one_says_what_to_do(
    program: Restic, fuse: None, root: None, tmp_path: Path
) -> None:
    where = tmp_path / "mount"
    with mounting([ICEBRICK, "mount", str(where)], where, program.environment) as process:
        process.kill()
        process.wait()
        again = attempt(program, where)
        subprocess.run(["umount", "--lazy", where], check=True)
    assert again.returncode == 2
    assert f"umount -l {where}" in again.stderr


def test_what_cannot_be_mounted_on_is_an_error(program: Restic, fuse: None, tmp_path: Path) -> None:
    ended = attempt(program, tmp_path / "nothing")
    assert ended.returncode == 2
    assert "cannot mount at" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.damages_repository("flips a bit")
def test_damaged_data_is_an_error_and_all_else_is_read(
    program: Restic, fuse: None, image: Path, planted: Path, tmp_path: Path
) -> None:
    copy = replace(program, repository=tmp_path / "copy")
    shutil.copytree(program.repository, copy.repository)
    for pack in [path for path in copy.repository.glob("data/*/*") if path.stat().st_size > 3 * MIB]:
        whole = pack.read_bytes()
        pack.chmod(0o600)
        pack.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    where = tmp_path / "mount"
    with mounting([ICEBRICK, "mount", str(where)], where, copy.environment):
        large = where / "volumes" / "v1" / "latest" / "files" / "files" / "large"
        raw = where / "ids" / snapshot_of(copy, "/volume") / "volume.raw"
        wrong = [_has_errors(large, planted / "files" / "large"), _has_errors(raw, image)]
    assert any(wrong)
    assert "cannot be read" in (tmp_path / "mount.log").read_text()


def _has_errors(path: Path, good: Path) -> bool:
    """Whether something cannot be read; what can is as it was."""
    content, failed = good.read_bytes(), False
    with path.open("rb", buffering=0) as file:
        for offset in range(0, len(content), 1 << 16):
            try:
                assert os.pread(file.fileno(), 1 << 16, offset) == content[offset : offset + (1 << 16)]
            except OSError as error:
                assert error.errno == errno.EIO
                failed = True
    return failed


def attempt(program: Restic, where: Path) -> subprocess.CompletedProcess[str]:
    command = [ICEBRICK, "mount", str(where)]
    return subprocess.run(command, env=program.environment, capture_output=True, text=True, check=False)


def locks(program: Restic) -> set[Path]:
    return set((program.repository / "locks").iterdir())
