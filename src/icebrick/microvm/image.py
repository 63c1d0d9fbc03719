"""What a guest starts from: a kernel and all files that it has, kept on this host until something of it changes."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from icebrick.errors import ReaderError
from icebrick.microvm.cpio import make_archive
from icebrick.microvm.guest.mounts import MODULES_FOLDER
from icebrick.microvm.interpreter import program_libraries, python_files
from icebrick.microvm.linux import MODULES, START, Linux, find_linux

_LINUX = "linux"
_KERNEL, _FILES = "kernel", "initrd"
_NTFS = "/bin/ntfs-3g"
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Image:
    """`kernel` and `files` are paths on this host; `ntfs`: whether the guest has the program for NTFS."""

    release: str
    kernel: Path
    files: Path
    ntfs: bool

    @property
    def types(self) -> tuple[str, ...]:
        """Of file systems that it can read."""
        return tuple(purpose for purpose in MODULES if purpose != START and (purpose != "ntfs" or self.ntfs))


def load_image(directory: Path) -> Image:
    """The image that fits to this Icebrick, its Python and the kernel; made if it is not in `directory`.

    ReaderError when a guest cannot run on this host, or when something is missing.
    """
    if platform.machine() != "x86_64":
        raise ReaderError(
            f"the isolated reader does not run on {platform.machine()}", hint="It needs x86-64; see --reader host."
        )
    own = directory / _LINUX
    linux = find_linux(own if own.is_dir() else Path("/"))
    ntfs = shutil.which("ntfs-3g", path=_PATH)
    place = directory / _key(linux, ntfs)
    image = Image(linux.release, place / _KERNEL, place / _FILES, ntfs is not None)
    if not place.is_dir():
        _make(image, linux, ntfs, place)
    return image


def remove_others(image: Image) -> None:
    """Images of before; not while a virtual machine may be about to start from one."""
    directory = image.files.parent.parent
    for other in directory.iterdir():
        if other != image.files.parent and (other / _FILES).is_file():
            shutil.rmtree(other, ignore_errors=True)


def unpack_kernel_package(package: Path, directory: Path) -> None:
    """Take the kernel from a Debian package from now on; it is not installed. ReaderError."""
    fresh = directory / f".{_LINUX}-{secrets.token_hex(4)}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg-deb", "-x", str(package), str(fresh)], check=True, capture_output=True)
        find_linux(fresh)
        shutil.rmtree(directory / _LINUX, ignore_errors=True)
        fresh.rename(directory / _LINUX)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ReaderError(f"{package} cannot be unpacked: {getattr(error, 'stderr', None) or error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _key(linux: Linux, ntfs: str | None) -> str:
    """Changes when anything that an image is made of does."""
    digest = hashlib.sha256(sys.version.encode())
    for path in (
        linux.kernel,
        linux.modules / "modules.builtin",
        Path(sys.executable),
        *([Path(ntfs)] if ntfs else []),
    ):
        status = os.stat(path)
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _make(image: Image, linux: Linux, ntfs: str | None, place: Path) -> None:
    fresh = place.with_name(f".{place.name}-{secrets.token_hex(4)}")
    try:
        fresh.mkdir(parents=True)
        shutil.copyfile(linux.kernel, fresh / _KERNEL)
        (fresh / _FILES).write_bytes(make_archive(dict(_files(linux, ntfs)), ("/proc", "/fs")))
        _replace(fresh, place)
    except OSError as error:
        raise ReaderError(f"the reader's image cannot be made in {place.parent}: {error.strerror}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _replace(fresh: Path, place: Path) -> None:
    """Give it its name, unless somebody was quicker."""
    for name in (_KERNEL, _FILES):
        (fresh / name).chmod(0o644)  # the virtual machine's user reads them
    try:
        fresh.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def _files(linux: Linux, ntfs: str | None) -> Iterator[tuple[str, bytes]]:
    yield from python_files().items()
    for purpose in MODULES:
        for number, module in enumerate(linux.modules_for(purpose)):
            yield f"{MODULES_FOLDER}/{purpose}/{number:03}", module
    if ntfs is not None:
        yield _NTFS, Path(ntfs).read_bytes()
        yield from program_libraries(ntfs)
