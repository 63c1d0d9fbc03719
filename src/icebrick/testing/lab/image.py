"""A guest's files: its kernel and its disks, built once and kept under the hash of what they are made of."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from icebrick.testing.lab.recipe import KERNEL_PACKAGE, PACKAGES, ROOT_MIB, SCRATCH_MIB, START, LabError, Recipe

VARIABLE = "ICEBRICK_LAB"
PROGRAMS = ("mmdebstrap", "mke2fs", "dpkg-deb")
_UNWANTED = ("doc", "man", "locale", "info")


@dataclass(frozen=True, slots=True)
class Image:
    """What guests are started from; they only read it."""

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "kernel" / "usr" / "bin" / "linux.uml"

    @property
    def modules(self) -> Path:
        (found,) = (self.folder / "kernel" / "usr" / "lib" / "uml" / "modules").iterdir()
        return found

    @property
    def root(self) -> Path:
        """The disk with the guest's system."""
        return self.folder / "root.img"

    @property
    def scratch(self) -> Path:
        """An empty ext4, larger than any test needs."""
        return self.folder / "scratch.img"


def default_folder() -> Path:
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "icebrick" / "lab"


def find_image(folder: Path, recipe: Recipe) -> Image | None:
    """The one built in `folder` from this recipe; None if there is none."""
    image = Image(folder / recipe.key)
    return image if (image.folder / "complete").exists() else None


def prepare_image(folder: Path, recipe: Recipe) -> Image:
    """Build it if it is not there, and remove older ones. Takes a minute or two, and others who want it wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        found = find_image(folder, recipe)
        if found is not None:
            return found
        for old in folder.iterdir():
            if old.is_dir() and old.name != "python":
                remove(old)
        image = Image(folder / recipe.key)
        image.folder.mkdir()
        _build(image, recipe)
        (image.folder / "complete").touch()  # last: without it the next one begins anew
        return image


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(image: Image, recipe: Recipe) -> None:
    for program in PROGRAMS:
        if shutil.which(program) is None:
            raise LabError(f"program {program} is missing")
    _fetch_kernel(image)
    root = image.folder / "root"
    try:
        _install(root, recipe)
        make_disk(image.root, ROOT_MIB, "-O", "^has_journal", "-d", str(root))
    finally:
        remove(root)
    make_disk(image.scratch, SCRATCH_MIB, "-O", "^has_journal", "-E", "lazy_itable_init=1")


def _fetch_kernel(image: Image) -> None:
    """Unpacked only: nothing of it is installed on this host."""
    with tempfile.TemporaryDirectory() as folder:
        _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", KERNEL_PACKAGE, cwd=Path(folder))
        (package,) = Path(folder).glob("*.deb")
        _run("dpkg-deb", "-x", str(package), str(image.folder / "kernel"))


def _install(root: Path, recipe: Recipe) -> None:
    settings = root.with_suffix(".apt")
    settings.write_text("".join(f"{line}\n" for line in recipe.acquire))
    options = [f"--aptopt={settings}", "--aptopt=APT::Install-Recommends false"]
    options += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _UNWANTED]
    options += ["--variant=minbase", f"--include={','.join(PACKAGES.split())}"]
    _run(*_as_root(), "mmdebstrap", *options, recipe.suite, str(root), *recipe.sources)
    start = root.with_suffix(".start")
    start.write_text(START)
    _run(*_as_root(), "install", "-m", "755", str(start), str(root / "usr" / "sbin" / "lab-start"))


def make_disk(path: Path, mib: int, *options: str) -> None:
    with path.open("wb") as file:
        file.truncate(mib << 20)
    _run(*_as_root(), "mke2fs", "-q", "-t", "ext4", "-m", "0", *options, str(path))


def remove(folder: Path) -> None:
    if folder.exists():
        _run(*_as_root(), "rm", "-rf", "--one-file-system", str(folder))


def _as_root() -> tuple[str, ...]:
    return () if os.geteuid() == 0 else ("sudo",)


def _run(*command: str, cwd: Path | None = None) -> None:
    result = subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        words = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise LabError("\n  ".join([f"{' '.join(command[:2])} failed:", *words[-5:]]))
