"""Where processes are killed."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.faults.kill_matrix import own_scene
from tests.faults.scene import Scene

from icebrick.devcloud.host import needed_tools
from icebrick.devcloud.record import Settings


@pytest.fixture(scope="session")
def scene(root: None, require: Callable[[str, Any, str], None]) -> Iterator[Scene]:
    """Volumes in a devcloud for all that is killed, and for nothing else. Each test leaves it as it was."""
    for tool in needed_tools(Settings()):
        require("cinder", shutil.which(tool), f"a devcloud needs {tool}")
    with warnings.catch_warnings(action="ignore"), own_scene() as scene:  # libraries' own, at their import
        yield scene
