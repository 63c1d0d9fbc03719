"""A guest's process: who it is, what it may, and when it ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from icebrick.errors import ReaderError
from icebrick.microvm import machine, wire
from icebrick.microvm.channel import GuestRefusal, Patience
from icebrick.microvm.image import Image
from icebrick.microvm.machine import started
from icebrick.microvm.qemu import Accelerator, Hardware, Limits


@contextmanager
def begun(boot_image: Image, disk: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which has not to come up for what is looked at here."""
    with (
        boot_image.kernel.open("rb") as kernel,
        boot_image.files.open("rb") as files,
        disk.open("rb") as file,
        Path("/dev/null").open("rb") as channel,
    ):
        hardware = Hardware(
            kernel.fileno(), files.fileno(), channel.fileno(), [file.fileno()], Accelerator.TCG, Limits()
        )
        with machine._running(hardware) as process:
            yield process


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, 8 << 20)
    subprocess.run(["mkfs.ext4", "-q", path], check=True)
    return path


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def limits(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return {line[:26].strip(): line[26:].split() for line in lines}


@pytest.mark.usefixtures("root")
def test_a_guest_is_read_by_nobody_with_no_rights_no_network_and_bounds(boot_image: Image, disk: Path) -> None:
    before, others = disk.read_bytes(), children()
    with disk.open("rb") as file, started(boot_image, [file.fileno()]) as channel:
        (pid,) = children() - others
        told, bounds = status(pid), limits(pid)
        assert told["Name"].startswith("qemu-system")
        uids = {int(uid) for uid in told["Uid"].split()}
        assert len(uids) == 1
        assert 61184 <= uids.pop() <= 65519
        assert told["Groups"] == ""
        assert int(told["CapEff"], 16) == int(told["CapBnd"], 16) == 0
        assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")
        assert bounds["Max file size"][0] == str(Limits().changes)
        assert int(bounds["Max address space"][0]) < 3 << 30
        assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
        assert channel.ask(wire.MOUNT, b"\0ext4").answer()
        with pytest.raises(GuestRefusal):
            channel.ask(wire.MOUNT, b"\0xfs").answer()
    assert not Path(f"/proc/{pid}").exists()
    assert disk.read_bytes() == before


def children() -> set[int]:
    """Of this thread; other tests' servers may be among them."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(pid) for pid in listed.split()}


def test_a_guest_ends_with_the_process_that_started_it(boot_image: Image, disk: Path) -> None:
    """Even when that is killed, as no block ends then."""
    program = (
        "import sys; from pathlib import Path; from tests.unit.microvm.test_machine import begun\n"
        "from icebrick.microvm.image import Image\n"
        f"image = Image('', Path({str(boot_image.kernel)!r}), Path({str(boot_image.files)!r}), False)\n"
        f"with begun(image, Path({str(disk)!r})) as process: print(process.pid, flush=True); sys.stdin.read()\n"
    )
    agent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "."},
    )
    with agent:
        assert agent.stdout is not None
        pid = int(agent.stdout.readline())
        gone = os.pidfd_open(pid)
        os.kill(agent.pid, signal.SIGKILL)
    poll = select.poll()
    poll.register(gone, select.POLLIN)
    assert poll.poll(30_000), "it still runs"
    os.close(gone)


def test_one_that_does_not_come_up_is_an_error_that_tells_what_it_said(boot_image: Image, tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(b"no kernel at all")
    broken = Image("", tmp_path / "kernel", boot_image.files, False)
    with (
        pytest.raises(ReaderError, match=r"the virtual machine that reads the file system ended: .*qemu"),
        started(broken, [], patience=Patience(60, 60)),
    ):
        pass
