"""The tutorial, followed word by word: every command block, in one shell, from beginning to end."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.environment import default_environment

ROOT = Path(__file__).parents[2]
FOLDER = "/var/tmp/icebrick-tutorial"
SETUP = "make setup\n"
"""Not run again: whoever runs the tests has run it, and it must not work beside them."""


@pytest.fixture
def folder(tmp_path: Path, root: None, restic: str, require: Callable[[str, Any, str], None]) -> Iterator[Path]:
    """Stands for the tutorial's folder, so that tests and people do not meet there."""
    require("cinder", shutil.which("mkfs.btrfs"), "no mkfs.btrfs on the PATH")
    yield tmp_path
    subprocess.run(["umount", "--quiet", tmp_path / "mnt"], check=False)
    Devcloud(tmp_path / "cloud").down()


def script(folder: Path) -> str:
    text = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    assert blocks[0].startswith(SETUP)
    return "".join(blocks).removeprefix(SETUP).replace(FOLDER, str(folder))


def test_the_tutorial_works_when_it_is_followed_word_by_word(folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "RESTIC_"))}
    environment["ICEBRICK_DEVCLOUD_VENV"] = os.environ.get("ICEBRICK_DEVCLOUD_VENV", str(default_environment()))
    environment["ICEBRICK_STATE_DIR"] = str(folder.with_name("state"))
    environment["RESTIC_CACHE_DIR"] = str(folder.with_name("cache"))
    (folder.with_name("cache")).mkdir()
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script(folder)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no differences" in result.stdout
    assert "dear diary" in result.stdout
    assert "nothing removed" in result.stdout
    assert not folder.exists()
