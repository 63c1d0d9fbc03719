"""Fixtures of the isolated reader: what its virtual machines start from, where they can be started."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icebrick.microvm.image import Image, load_image

READER_DIR = Path(os.environ.get("ICEBRICK_READER_DIR", Path(__file__).resolve().parent.parent / "build" / "reader"))


@pytest.fixture(scope="session")
def reader_dir(require: Callable[[str, Any, str], None]) -> Path:
    """Where setup has prepared a kernel; skips where it has not, unless vm is required."""
    require("vm", shutil.which("qemu-system-x86_64"), "no QEMU")
    require("vm", (READER_DIR / "linux").is_dir(), f"no kernel in {READER_DIR}")
    return READER_DIR


@pytest.fixture(scope="session")
def boot_image(reader_dir: Path) -> Image:
    return load_image(reader_dir)
