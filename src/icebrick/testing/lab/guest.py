"""One guest's life: it boots, runs one command, and is gone."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from icebrick.testing.lab.image import Image
from icebrick.testing.lab.recipe import LabError
from icebrick.testing.servers import guard

TIMED_OUT = 124
DIED = 125
_INIT = Path(__file__).with_name("init.sh")
_POLL_SECONDS = 0.05
_END_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Job:
    """A command for a guest.

    It sees the `seen` directories of the host at their own paths, and may write to them, but the host does not see
    that. In the `shared` ones it does. The `packed` ones are the same as the seen, but come from disk `pack`, see
    python.py. `seconds` is how long the guest may live.
    """

    command: Sequence[str]
    seen: Sequence[Path] = ()
    packed: Sequence[Path] = ()
    pack: Path | None = None
    shared: Sequence[Path] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    working: Path = Path("/root")
    seconds: float = 600.0
    memory_mib: int = 3072


def run_in_guest(image: Image, job: Job, output: BinaryIO) -> int:
    """What the command prints goes to `output` as it comes. Its exit code; `TIMED_OUT` or `DIED` if it has none.

    Nothing of the guest stays, however this process ends. When it has died, the last words of its kernel are printed.
    """
    with tempfile.TemporaryDirectory(prefix=f"icebrick-lab-{os.getpid()}-", dir="/var/tmp") as name:
        folder = Path(name)
        with _guest(image, job, folder) as process:
            code = _follow(process, job, folder, output)
        if code == DIED:
            output.write((folder / "console").read_bytes()[-3000:])
            output.flush()
        return code


@contextmanager
def _guest(image: Image, job: Job, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The guest's guard: as long as it runs, the guest does."""
    _write_job(job, folder / "job")
    guarded = [sys.executable, "-I", "-S", guard.__file__, "--remove", str(folder), str(os.getpid())]
    with (folder / "console").open("wb") as console:
        process = subprocess.Popen(
            [*guarded, *_kernel_command(image, job, folder)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            cwd=folder,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(folder),
                "TMPDIR": _memory_folder(job, folder),
            },
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGUSR1)
        process.wait(_END_SECONDS)


def _write_job(job: Job, folder: Path) -> None:
    folder.mkdir()
    kinds = {"seen": job.seen, "packed": job.packed, "shared": job.shared}
    directories = [(kind, path) for kind, paths in kinds.items() for path in paths]
    for _, path in directories:
        if set(str(path)) & set(",:\n") or not path.is_dir():
            raise LabError(f"cannot share {path} with a guest: no directory, or a character that mount cannot take")
    texts = {
        "init": _INIT.read_text(),
        "command": shlex.join(job.command),
        "directories": "\n".join(f"{kind}:{path}" for kind, path in directories),
        "environment": "\n".join(f"{name}={shlex.quote(value)}" for name, value in job.environment.items()),
        "working": str(job.working),
    }
    for name, text in texts.items():
        (folder / name).write_text(f"{text}\n")


def _kernel_command(image: Image, job: Job, folder: Path) -> list[str]:
    disks = [f"ubd0={folder}/root.cow,{image.root}", f"ubd1={folder}/scratch.cow,{image.scratch}"]
    disks += [f"ubd2r={job.pack}"] if job.pack is not None else []
    quiet = ("con=null", "con0=null,fd:1", "ssl=null", "quiet")
    ours = (f"lab.modules={image.modules}", f"lab.folder={folder}/job")
    start = ("root=/dev/ubda", "rw", "init=/usr/sbin/lab-start", f"uml_dir={folder}/uml", f"mem={job.memory_mib}M")
    # Each file of the host that the guest looks at is one that is open here.
    files = ("sh", "-c", 'ulimit -n "$(ulimit -H -n)"; exec "$@"', "sh")
    # At each call of a process to the guest's kernel, one process of the host wakes another. From one processor to the
    # next that takes four times as long.
    place = ("taskset", "-c", str(random.choice(sorted(os.sched_getaffinity(0)))))  # noqa: S311
    # There it goes before others, where it may: while it waits for the processor, time goes on in the guest.
    first = ("nice", "-n", "-10")
    return [*place, *first, *files, str(image.kernel), *disks, *start, *quiet, *ours]


def _memory_folder(job: Job, folder: Path) -> str:
    """Where the file is that is the guest's memory: on a tmpfs if it has room, so that nobody writes it to a disk."""
    fast = "/dev/shm"  # noqa: S108 - the kernel makes a file there that has no name
    try:
        return fast if shutil.disk_usage(fast).free > job.memory_mib << 20 else str(folder)
    except OSError:
        return str(folder)


def _follow(process: subprocess.Popen[bytes], job: Job, folder: Path, output: BinaryIO) -> int:
    end = time.monotonic() + job.seconds
    with _Tail(folder / "job" / "output", output) as tail:
        while (code := _code(folder / "job" / "code")) is None:
            tail.copy()
            if process.poll() is not None:
                return DIED
            if time.monotonic() > end:
                return TIMED_OUT
            time.sleep(_POLL_SECONDS)
    return code


def _code(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return None


class _Tail:
    """Copies what is written to a file, from when there is one until the end of the block."""

    def __init__(self, path: Path, output: BinaryIO) -> None:
        self._path = path
        self._output = output
        self._file: BinaryIO | None = None

    def __enter__(self) -> _Tail:
        return self

    def __exit__(self, *_: object) -> None:
        self.copy()
        if self._file is not None:
            self._file.close()

    def copy(self) -> None:
        if self._file is None and self._path.exists():
            self._file = self._path.open("rb")
        if self._file is not None and (new := self._file.read()):
            self._output.write(new)
            self._output.flush()
