"""What a devcloud has on this host, found by its directory and not by any record: loop devices, mounts; its pool."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from icebrick.devcloud.layout import Layout
from icebrick.devcloud.record import Settings
from icebrick.errors import DevcloudError

_DETACH_SECONDS = 5.0
_MAKE_FILE_SYSTEM = {
    "xfs": ("mkfs.xfs", "-q", "-K", "-m", "reflink=1"),
    "btrfs": ("mkfs.btrfs", "-q", "-K", "-m", "single"),
}


@dataclass(frozen=True, slots=True)
class LoopDevice:
    """A loop device such as /dev/loop3, and the file behind it."""

    device: str
    file: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: its device, and where it is mounted."""

    device: str
    path: str


def find_loops(directory: Path) -> tuple[LoopDevice, ...]:
    """The loop devices over files below `directory`, also over files that are deleted."""
    found = []
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # the device went while we looked
            file = entry.read_text().rstrip("\n").removesuffix(" (deleted)")
            if Path(file).is_relative_to(directory):
                found.append(LoopDevice(f"/dev/{entry.parts[3]}", file))
    return tuple(sorted(found, key=lambda loop: loop.device))


def find_mounts(directory: Path) -> tuple[Mount, ...]:
    """What is mounted below `directory`, or anywhere from its loop devices and their partitions; oldest first."""
    devices = {loop.device for loop in find_loops(directory)}
    return tuple(
        mount
        for mount in _all_mounts()
        if Path(mount.path).is_relative_to(directory) or _whole_device(mount.device) in devices
    )


def _whole_device(device: str) -> str:
    """/dev/loop3 for its partition /dev/loop3p1."""
    return re.sub(r"(?<=\d)p\d+$", "", device)


def _all_mounts() -> list[Mount]:
    mounts = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        mounts.append(Mount(_unescape(right.split()[1]), _unescape(left.split()[4])))
    return mounts


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def release_all(directory: Path) -> None:
    """Unmount and detach all that `find_mounts` and `find_loops` find; DevcloudError if something is in use."""
    for mount in reversed(find_mounts(directory)):
        _detach_loops(Path(mount.path))  # the files behind them keep the file system busy
        run_tool("umount", mount.path)
    _detach_loops(directory)


def _detach_loops(folder: Path) -> None:
    for loop in find_loops(folder):
        with contextlib.suppress(DevcloudError):  # the one that `mount` made goes by itself, maybe just now
            run_tool("losetup", "--detach", loop.device)
    # The kernel detaches a device only when nobody has it open; udev or blkid may look at it for a moment.
    end = time.monotonic() + _DETACH_SECONDS
    while loops := find_loops(folder):
        if time.monotonic() > end:
            raise DevcloudError(
                f"loop device {loops[0].device} of {loops[0].file} is still in use",
                hint="End the process that has it open, then try again.",
            )
        time.sleep(0.02)


def mount_pool(layout: Layout, settings: Settings) -> None:
    """Make the pool's file system where it is missing, and mount it where it is not mounted."""
    layout.pool.mkdir(exist_ok=True)
    if settings.filesystem == "none" or layout.pool.is_mount():
        return
    if not layout.pool_image.exists():
        part = layout.pool_image.with_suffix(".part")
        part.unlink(missing_ok=True)
        with part.open("wb") as image:
            image.truncate(settings.pool_gib << 30)
        run_tool(*_MAKE_FILE_SYSTEM[settings.filesystem], str(part))
        part.rename(layout.pool_image)
    run_tool("mount", "-o", "loop", str(layout.pool_image), str(layout.pool))


def needed_tools(settings: Settings) -> tuple[str, ...]:
    """The programs that a devcloud of these settings runs."""
    if settings.storage == "lvm":
        return ("losetup", "vgcreate", "vgchange", "vgs", "lvs", "iscsiadm")
    make = _MAKE_FILE_SYSTEM.get(settings.filesystem)
    return ("losetup", "mount", "umount", "cp", *(make[:1] if make else ()))


def run_tool(*command: str) -> None:
    """Run a program to its end; DevcloudError with its own words if it fails."""
    # It inherits the lock of `locked_directory`: should we be killed, the next one waits until it has ended, and
    # does not look for mounts before they are there.
    result = subprocess.run(
        command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, close_fds=False
    )
    if result.returncode:
        raise DevcloudError(f"{' '.join(command)} failed: {' '.join(result.stderr.split())}")
