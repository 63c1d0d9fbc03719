"""What a guest starts from: found on a host, or unpacked from a package; archived as Linux wants it."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from icebrick.errors import ReaderError
from icebrick.microvm.cpio import make_archive
from icebrick.microvm.image import Image, load_image, unpack_kernel_package
from icebrick.microvm.interpreter import python_command, python_files
from icebrick.microvm.linux import MODULES, START, find_linux


def module(depends: str = "") -> bytes:
    """As much of one as is looked at."""
    return b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"


def make_linux(root: Path, release: str, suffix: str = ".ko") -> Path:
    """A kernel with modules, some of which are in the kernel itself."""
    modules = root / "lib/modules" / release
    (modules / "kernel/fs").mkdir(parents=True)
    (root / "boot").mkdir(exist_ok=True)
    (root / "boot" / f"vmlinuz-{release}").write_bytes(b"kernel")
    (modules / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\nkernel/drivers/virtio/virtio_pci.ko\n")
    pack = {".ko": bytes, ".ko.gz": gzip.compress, ".ko.xz": lzma.compress, ".ko.zst": zstandard.compress}[suffix]
    contents = {"virtio_blk": "", "virtio_console": "", "btrfs": "raid6-pq,xor", "raid6_pq": "", "xor": "raid6_pq"}
    for name, depends in contents.items():
        (modules / "kernel/fs" / f"{name.replace('_', '-')}{suffix}").write_bytes(pack(module(depends)))
    return modules


@pytest.mark.parametrize("suffix", [".ko", ".ko.gz", ".ko.xz", ".ko.zst"])
def test_modules_come_after_what_they_need_however_they_are_packed(suffix: str, tmp_path: Path) -> None:
    make_linux(tmp_path, "6.1.0", suffix)
    linux = find_linux(tmp_path)
    assert linux.modules_for("ext4") == []
    assert linux.modules_for("btrfs") == [module(), module("raid6_pq"), module("raid6-pq,xor")]
    assert len(linux.modules_for(START)) == 2


def test_a_module_that_is_missing_is_told_with_its_kernel(tmp_path: Path) -> None:
    make_linux(tmp_path, "6.1.0")
    with pytest.raises(ReaderError, match=r"the kernel 6\.1\.0 has no module xfs"):
        find_linux(tmp_path).modules_for("xfs")


def test_the_newest_kernel_is_taken_unless_this_host_runs_another(tmp_path: Path) -> None:
    for release in ("6.1.0-9-amd64", "6.1.0-56-amd64", "5.10.0-99-amd64"):
        make_linux(tmp_path, release)
    assert find_linux(tmp_path).release == "6.1.0-56-amd64"
    make_linux(tmp_path, os.uname().release)
    assert find_linux(tmp_path).release == os.uname().release


def test_no_kernel_is_an_error_that_says_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(ReaderError) as told:
        find_linux(tmp_path)
    assert told.value.hint is not None
    assert "--kernel-package" in told.value.hint


def test_what_is_no_package_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "no.deb").write_bytes(b"nothing")
    with pytest.raises(ReaderError, match=r"no\.deb cannot be unpacked"):
        unpack_kernel_package(tmp_path / "no.deb", tmp_path / "reader")
    assert list((tmp_path / "reader").iterdir()) == []


def test_an_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    archive = make_archive({"/a/b/file": b"content", "/top": b""}, ("/empty",))
    if shutil.which("cpio"):
        subprocess.run(["cpio", "-idm", "--quiet", "--no-absolute-filenames"], input=archive, cwd=tmp_path, check=False)
        assert (tmp_path / "a/b/file").read_bytes() == b"content"
    assert archive == make_archive({"/top": b"", "/a/b/file": b"content"}, ("/empty",))
    for name in (b"a\0", b"a/b\0", b"a/b/file\0", b"empty\0", b"dev/console\0", b"TRAILER!!!\0"):
        assert archive.count(name) >= 1
    assert len(archive) % 4 == 0


def test_the_guests_program_finds_all_it_imports_among_its_files(tmp_path: Path) -> None:
    """In a folder in place of the guest's root, where the same interpreter is told to look nowhere else."""
    files = python_files()
    home = tmp_path / "python"
    for path, content in files.items():
        if path.startswith("/python/lib/"):
            place = tmp_path / path.removeprefix("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    program = f"""
import sys
sys.path[:] = [{str(home / "lib" / Path(python_command()[0]).name)!r}]
sys.path.append(sys.path[0] + "/lib-dynload")
import icebrick.microvm.guest.boot
print(sorted(name for name in sys.modules if name.startswith("icebrick")))
"""
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert "icebrick.microvm.guest.files" in ran.stdout
    assert "icebrick.errors" not in ran.stdout


def test_an_image_is_made_once_until_something_of_it_changes(boot_image: Image, reader_dir: Path) -> None:
    made = boot_image.files.stat().st_mtime_ns
    assert load_image(reader_dir) == boot_image
    assert boot_image.files.stat().st_mtime_ns == made
    assert set(boot_image.types) <= set(MODULES) - {START}
