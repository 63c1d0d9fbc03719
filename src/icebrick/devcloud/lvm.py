"""The volume group of a devcloud that stores in LVM: on a loop device over one file, named after the directory."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from icebrick.devcloud.host import find_loops, run_tool
from icebrick.devcloud.layout import Layout
from icebrick.devcloud.record import Settings
from icebrick.errors import DevcloudError

_QUIET = {"LVM_SUPPRESS_FD_WARNINGS": "1", "LC_ALL": "C"}


def volume_group(directory: Path) -> str:
    return f"icebrick-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:8]}"


def open_volume_group(layout: Layout, settings: Settings) -> None:
    """Make it where it is missing, and activate it where it is not active."""
    new = not layout.pool_image.exists()
    if new:
        with layout.pool_image.open("wb") as image:
            image.truncate(settings.pool_gib << 30)
    if not find_loops(layout.directory):
        run_tool("losetup", "--find", str(layout.pool_image))
    (loop,) = find_loops(layout.directory)
    name = volume_group(layout.directory)
    if not _exists(name):
        run_tool("vgcreate", "-q", name, loop.device)
    run_tool("vgchange", "-q", "--activate", "y", name)


def close_volume_group(directory: Path) -> None:
    """What is in it stays. DevcloudError if a volume is in use."""
    if find_loops(directory) and _exists(volume_group(directory)):
        run_tool("vgchange", "-q", "--activate", "n", volume_group(directory))


def find_logical_volumes(directory: Path) -> frozenset[str]:
    """Names of those of Cinder's volumes and volume snapshots."""
    if not find_loops(directory) or not _exists(name := volume_group(directory)):
        return frozenset()
    return frozenset(_output("lvs", "--noheadings", "-o", "lv_name", name).split()) - {f"{name}-pool"}


def device_of(directory: Path, logical_volume: str) -> Path:
    """Where it is when it is active."""
    return Path("/dev") / volume_group(directory) / logical_volume


def _exists(name: str) -> bool:
    """Where LVM is not installed, there is none."""
    return shutil.which("vgs") is not None and name in _output("vgs", "--noheadings", "-o", "vg_name").split()


def _output(*command: str) -> str:
    result = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **_QUIET})
    if result.returncode:
        raise DevcloudError(f"{' '.join(command)} failed: {' '.join(result.stderr.split())}")
    return result.stdout
