"""File systems are mounted for nobody but us, with journals replayed, and are gone in any case."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from icebrick.errors import FileSystemError
from icebrick.filesystem import mount
from icebrick.filesystem.base import TYPES, FileSystem
from icebrick.filesystem.make import make_file_system
from icebrick.filesystem.mount import has_subvolumes, mounted_for_reading, mounted_for_writing
from icebrick.testing.loopdevice import loop_device

SIZE = 320 << 20
_NO_SYMLINKS = 0x2000  # ST_NOSYMFOLLOW
GUARDED = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | _NO_SYMLINKS

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(params=TYPES)
def file_system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def image(file_system: str, tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.touch()
    os.truncate(path, SIZE)
    # any UUID: mkfs.btrfs refuses one that another device of this host has, such as that of a test at the same time
    features = {"has_journal", "extent", "filetype"} if file_system == "ext4" else {"extref", "skinny-metadata"}
    make_file_system(str(path), FileSystem(file_system, "", str(uuid.uuid4()), SIZE, {}, frozenset(features)))
    return path


@pytest.fixture
def device(image: Path) -> Iterator[str]:
    with loop_device(image) as path:
        yield path


def is_free(device: str) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_EXCL))
    except OSError as error:
        assert error.errno == errno.EBUSY
        return False
    return True


def is_mounted_somewhere(device: str) -> bool:
    return device in Path("/proc/self/mountinfo").read_text()


def test_what_was_written_is_read_again(file_system: str, device: str) -> None:
    with mounted_for_writing(device, file_system) as root:
        with open(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=root), "wb") as file:
            file.write(b"content")
        assert os.fstatvfs(root).f_flag & GUARDED == GUARDED
        assert not os.fstatvfs(root).f_flag & os.ST_RDONLY
        assert not is_mounted_somewhere(device)
        assert not is_free(device)
    assert is_free(device)
    with mounted_for_reading(device, file_system) as root:
        assert read(root, "file") == b"content"
        assert os.fstatvfs(root).f_flag & (GUARDED | os.ST_RDONLY) == GUARDED | os.ST_RDONLY
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir("folder", dir_fd=root)
    assert is_free(device)


def read(folder: int, name: str) -> bytes:
    with open(os.open(name, os.O_RDONLY, dir_fd=folder), "rb") as file:
        return file.read()


def test_files_that_were_synced_are_there_though_the_journal_was_not_replayed(
    file_system: str, image: Path, device: str, tmp_path: Path
) -> None:
    """The copy is what a volume snapshot of a mounted volume is; its original stays mounted beside it."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    subprocess.run(["mount", "-t", file_system, device, folder], check=True)
    try:
        for number in range(50):
            with (folder / f"{number}").open("wb") as file:
                file.write(b"%d" % number * 100)
                file.flush()
                os.fsync(file.fileno())
        subprocess.run(["cp", "--sparse=always", image, tmp_path / "copy"], check=True)
        with loop_device(tmp_path / "copy") as copy, mounted_for_reading(copy, file_system) as root:
            assert {name: read(root, name) for name in os.listdir(root) if name != "lost+found"} == {
                f"{number}": b"%d" % number * 100 for number in range(50)
            }
    finally:
        subprocess.run(["umount", folder], check=True)


HOLDER = """
import sys
import uuid
from icebrick.filesystem.mount import mounted_for_writing
with mounted_for_writing(sys.argv[1], sys.argv[2]):
    print("mounted", flush=True)
    sys.stdin.read()
"""


def test_a_process_that_is_killed_leaves_nothing_mounted(file_system: str, device: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, device, file_system], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"mounted\n"
        assert not is_free(device)
        process.kill()
    assert is_free(device)
    assert not is_mounted_somewhere(device)


def test_the_device_is_free_again_after_an_error(file_system: str, device: str) -> None:
    with pytest.raises(ZeroDivisionError), mounted_for_reading(device, file_system):
        raise ZeroDivisionError
    assert is_free(device)


def test_another_file_system_than_was_said_is_an_error(file_system: str, device: str) -> None:
    another = next(name for name in TYPES if name != file_system)
    with pytest.raises(FileSystemError, match=f"cannot mount the {another} file system on {device}: "):
        mounted_for_reading(device, another).__enter__()
    assert is_free(device)


@pytest.mark.parametrize("file_system", ["ext4"], indirect=True)
class TestErrors:
    def test_a_type_that_the_kernel_does_not_know(self, device: str) -> None:
        with pytest.raises(FileSystemError, match="this kernel knows no file systems of type nonsense"):
            mounted_for_reading(device, "nonsense").__enter__()

    def test_a_kernel_without_the_calls(self, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> int:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(mount, "system_call", refuse)
        with pytest.raises(FileSystemError, match="cannot be mounted here") as caught:
            mounted_for_reading(device, "ext4").__enter__()
        assert "Linux 5.14" in str(caught.value.hint)

    def test_a_device_that_cannot_be_written_is_told(self, device: str) -> None:
        subprocess.run(["blockdev", "--setro", device], check=True)
        try:
            with pytest.raises(FileSystemError, match=f"cannot mount the ext4 file system on {device}: "):
                mounted_for_writing(device, "ext4").__enter__()
        finally:
            subprocess.run(["blockdev", "--setrw", device], check=True)

    def test_something_left_open_is_told(self, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mount, "_FREE_WITHIN", 0.0)
        with (
            ExitStack() as left,
            pytest.raises(FileSystemError, match="still in use"),
            mounted_for_reading(device, "ext4") as root,
        ):
            left.callback(os.close, os.dup(root))
        assert is_free(device)

    def test_a_superblock_that_asks_for_the_hosts_panic_is_not_obeyed(self, device: str) -> None:
        subprocess.run(["tune2fs", "-e", "panic", device], check=True, capture_output=True)
        with mounted_for_reading(device, "ext4"):
            options = [line for line in Path(f"/proc/fs/ext4/{Path(device).name}/options").read_text().splitlines()]
        assert "errors=remount-ro" in options


def test_of_two_volumes_with_one_uuid_each_is_mounted_from_its_own_device(
    image: Path, device: str, file_system: str, tmp_path: Path
) -> None:
    subprocess.run(["cp", "--sparse=always", image, tmp_path / "copy"], check=True)
    with loop_device(tmp_path / "copy") as copy:
        for path in (device, copy):
            with mounted_for_writing(path, file_system) as root:
                os.close(os.open(path.replace("/", "_"), os.O_WRONLY | os.O_CREAT, dir_fd=root))
        with mounted_for_reading(device, file_system) as one, mounted_for_reading(copy, file_system) as other:
            assert [name for name in os.listdir(one) if "dev" in name] == [device.replace("/", "_")]
            assert [name for name in os.listdir(other) if "dev" in name] == [copy.replace("/", "_")]
            mount._check_device(one, device, file_system)
            with pytest.raises(FileSystemError, match="another device's file system"):
                mount._check_device(one, copy, file_system)


@pytest.mark.parametrize("file_system", ["btrfs"], indirect=True)
def test_subvolumes_are_noticed_and_seen_whatever_is_shown_by_default(device: str) -> None:
    with mounted_for_writing(device, "btrfs") as root:
        assert not has_subvolumes(root)
        where = f"/proc/{os.getpid()}/fd/{root}"
        subprocess.run(["btrfs", "-q", "subvolume", "create", f"{where}/below"], check=True)
        subprocess.run(["btrfs", "-q", "subvolume", "set-default", f"{where}/below"], check=True)
        assert has_subvolumes(root)
    with mounted_for_reading(device, "btrfs") as root:
        assert os.listdir(root) == ["below"]
