"""Install what the project needs and this machine does not have: Debian packages, .venv, the devcloud's environment.

With the word `servers`, also the storage servers that the tests use, and their environment. With the word `lab`, also
what guests of the laboratory start from; with `reader`, what the isolated reader of file systems does.

Runs on the system's own Python before anything is installed, so it uses nothing but the standard library and those
modules of ours that do the same. Where all is there, it does nothing and says nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
VENV = ROOT / ".venv"
DEVCLOUD_VENV = Path(os.environ.get("ICEBRICK_DEVCLOUD_VENV", ROOT / ".venv-devcloud"))
SERVERS_VENV = Path(os.environ.get("ICEBRICK_SERVERS_VENV", ROOT / ".venv-servers"))
LAB = Path(os.environ.get("ICEBRICK_LAB", ROOT / ".lab"))
READER_DIR = Path(os.environ.get("ICEBRICK_READER_DIR", ROOT / "build" / "reader"))
LOCK_FILE = ROOT / "requirements-dev.lock"

PROGRAMS = {
    "restic": "restic",  # the judge of our repositories
    "fusermount3": "fuse3",  # restic mount
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",  # the devcloud's pool: it copies by reflink, and freezes volumes at one instant
    "losetup": "mount",
    "fsfreeze": "util-linux",
    "cryptsetup": "cryptsetup-bin",  # the keys of encrypted volumes
}
"""Programs and the Debian packages that have them."""

SERVER_PROGRAMS = {
    "rclone": "rclone",
    "ssh": "openssh-client",  # what stock restic reaches an SFTP server with
    "sshd": "openssh-server",
    "vsftpd": "vsftpd",
    "memcached": "memcached",  # Swift keeps tokens in it
}
"""The same for tests of storage media."""

LAB_PROGRAMS = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs"}
"""The same for building a guest of the laboratory; what is in it is not installed here."""

READER_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "ntfs-3g": "ntfs-3g",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
}
"""The same for the isolated reader, and for the file systems that only it reads."""

READER_KERNEL = "linux-image-cloud-amd64"
"""The package that names the smallest kernel which has all that a guest needs; it is unpacked, not installed."""

DAEMONS = {"openssh-server": "ssh", "vsftpd": "vsftpd", "memcached": "memcached"}
"""Packages that bring a server that starts with the machine, and what systemd calls it."""

DAEMON_POLICY = Path("/usr/sbin/policy-rc.d")
"""Debian's packages ask this program whether they may start a server."""

PYTHON_MODULES = {"ensurepip": "python3-venv"}
"""Parts of Python that Debian packages apart."""

SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")
"""Where programs are, too, but not on everybody's PATH."""


class SetupError(Exception):
    """Something that a person must do first."""


def main() -> int:
    try:
        check_python()
        programs, makers = dict(PROGRAMS), [make_venv, make_devcloud_venv]
        if "servers" in sys.argv[1:]:
            programs |= SERVER_PROGRAMS
            makers.append(make_servers_venv)
        if "lab" in sys.argv[1:]:
            programs |= LAB_PROGRAMS
            makers.append(make_lab)
        if "reader" in sys.argv[1:]:
            programs |= READER_PROGRAMS
        install_packages(missing_packages(programs))
        make_environments(makers)
        if "reader" in sys.argv[1:]:
            prepare_reader()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


def check_python() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is run by whatever `python3` is
        raise SetupError(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}")


def missing_packages(programs: Mapping[str, str]) -> list[str]:
    """The Debian packages of those programs that are not installed, sorted."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    packages = {package for program, package in programs.items() if shutil.which(program, path=path) is None}
    packages |= {package for module, package in PYTHON_MODULES.items() if importlib.util.find_spec(module) is None}
    return sorted(packages)


def install_packages(packages: Sequence[str]) -> None:
    """SetupError that names the packages where they cannot be installed from here."""
    if not packages:
        return
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise SetupError(f"no apt-get here; install by hand what Debian has in these packages: {names}")
    root = _as_root(names)
    apt = [*root, "apt-get", "-o", "DPkg::Lock::Timeout=120"]
    with step(f"install {names}"), daemons_kept_off(packages, root):
        run([*apt, "-q", "update"], "apt-get update")
        run([*apt, "-q", "-y", "--no-install-recommends", "install", *packages], "apt-get install")


@contextmanager
def daemons_kept_off(packages: Sequence[str], root: Sequence[str]) -> Iterator[None]:
    """Servers that are installed in the block do not start, neither now nor with the machine: tests start their own.

    `root` are the words before a command that needs root.
    """
    units = [DAEMONS[package] for package in packages if package in DAEMONS]
    if not units:
        yield
        return
    with ExitStack() as undo:
        if not DAEMON_POLICY.exists():
            policy = undo.enter_context(tempfile.NamedTemporaryFile("w"))
            policy.write("#!/bin/sh\n# Of Icebrick's setup, and needed only as long as that runs.\nexit 101\n")
            policy.flush()
            undo.callback(run, [*root, "rm", "-f", str(DAEMON_POLICY)], "allowing servers again")
            run([*root, "install", "-m", "755", policy.name, str(DAEMON_POLICY)], "forbidding servers to start")
        yield
        if shutil.which("systemctl") is not None:
            run([*root, "systemctl", "disable", *units], "systemctl disable")


def _as_root(names: str) -> list[str]:
    """The words before a command that needs root."""
    settings = ["env", "DEBIAN_FRONTEND=noninteractive"]
    if os.geteuid() == 0:
        return settings
    if shutil.which("sudo") is None:
        raise SetupError(f"neither root nor sudo; let somebody who may install these packages: {names}")
    return ["sudo", *settings]


def make_environments(makers: Sequence[Callable[[], None]]) -> None:
    """Virtual environments, at the same time: each mostly waits for the package index."""
    sys.path.insert(0, str(SOURCE))
    from icebrick.errors import DevcloudError  # noqa: PLC0415 - the path is known only now
    from icebrick.parallel import Workers  # noqa: PLC0415

    try:
        with Workers[Callable[[], None]](lambda make: make(), threads=len(makers), name="setup") as workers:
            for make in makers:
                workers.put(make)
    except DevcloudError as error:
        raise SetupError(f"{error}. {error.hint or ''}".strip()) from error


def make_devcloud_venv() -> None:
    from icebrick.devcloud.environment import prepare_environment  # noqa: PLC0415

    with step_that_may_be_short(f"install Keystone and Cinder in {DEVCLOUD_VENV.name}"):
        prepare_environment(DEVCLOUD_VENV)


def make_servers_venv() -> None:
    from icebrick.devcloud.environment import prepare_environment  # noqa: PLC0415
    from icebrick.testing.servers.environment import REQUIREMENTS  # noqa: PLC0415

    with step_that_may_be_short(f"install Swift and SeaweedFS in {SERVERS_VENV.name}"):
        prepare_environment(SERVERS_VENV, requirements=REQUIREMENTS)


def make_lab() -> None:
    from icebrick.testing.lab.image import find_image, prepare_image  # noqa: PLC0415
    from icebrick.testing.lab.recipe import LabError, recipe_of_host  # noqa: PLC0415

    try:
        recipe = recipe_of_host()
        if find_image(LAB, recipe) is None:
            with step("build a guest for the laboratory"):
                prepare_image(LAB, recipe)
    except LabError as error:
        raise SetupError(str(error)) from error


def prepare_reader() -> None:
    """Needs `.venv`."""
    with locked(READER_DIR):
        if (READER_DIR / "linux").is_dir():
            return
        with step("fetch a kernel for the isolated reader"), tempfile.TemporaryDirectory() as folder:
            run([*_as_root(READER_KERNEL), "apt-get", "-q", "update"], "apt-get update")
            depends = ["apt-cache", "depends", "--important", READER_KERNEL]
            listed = subprocess.run(depends, check=False, capture_output=True, text=True).stdout
            kernel = listed.partition("Depends: ")[2].partition("\n")[0].strip() or READER_KERNEL
            run(["apt-get", "-q", "download", kernel], f"downloading {kernel}", folder=folder)
            (package,) = Path(folder).glob("*.deb")
            command = [str(VENV / "bin" / "icebrick"), "reader", "build", "--kernel-package", str(package)]
            environment = {**os.environ, "ICEBRICK_READER_DIR": str(READER_DIR)}
            run(command, "icebrick reader build", environment=environment)


def make_venv() -> None:
    """.venv with the product, editable, and the tools of `requirements-dev.lock`. Others who want it wait."""
    with locked(VENV):
        _make_venv()


def _make_venv() -> None:
    complete = VENV / "complete"
    python, packages = wanted_marks()
    marks = complete.read_text().split() if complete.exists() else []
    if marks == [python, packages]:
        return
    with step(f"install Icebrick and its tools in {VENV.name}"):
        complete.unlink(missing_ok=True)
        # An environment of another Python or another folder is of no use; one with other packages is.
        clear = ["--clear"] if marks[:1] != [python] and marks else []
        run([sys.executable, "-m", "venv", *clear, str(VENV)], "making .venv")
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
        pip += ["--disable-pip-version-check", "--no-compile"]  # Python compiles what it needs when it needs it
        # The list names all that is needed in versions that fit: nothing is left to resolve.
        run([*pip, "--no-deps", "--requirement", str(LOCK_FILE), "--editable", str(ROOT)], "pip install")
        complete.write_text(f"{python} {packages}\n")


def wanted_marks() -> tuple[str, str]:
    """What `.venv/complete` says when all is well: of the Python and the folder, and of the packages in it."""
    python = hashlib.sha256(sys.version.encode() + os.fsencode(VENV))
    packages = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + LOCK_FILE.read_bytes())
    return python.hexdigest(), packages.hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process at a time; the kernel takes the lock from one that is killed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(
    command: Sequence[str], what: str, *, folder: str | None = None, environment: Mapping[str, str] | None = None
) -> None:
    """Run to the end; SetupError with its last words if it fails."""
    result = subprocess.run(
        command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=folder, env=environment
    )
    if result.returncode:
        words = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise SetupError(f"{what} failed:\n  " + "\n  ".join(words[-5:]))


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say what takes a while, and how long it took."""
    started = time.monotonic()
    tell(f"{name} ...")
    yield
    tell(f"{name}: {time.monotonic() - started:.0f} s")


@contextmanager
def step_that_may_be_short(name: str) -> Iterator[None]:
    """Say what took a while, as nobody knows before whether there is anything to do."""
    started = time.monotonic()
    yield
    if time.monotonic() - started > 1:
        tell(f"{name}: {time.monotonic() - started:.0f} s")


def tell(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
