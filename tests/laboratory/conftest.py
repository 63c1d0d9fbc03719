"""Guests on a kernel of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from icebrick.testing.lab.image import Image, default_folder, find_image
from icebrick.testing.lab.recipe import LabError, recipe_of_host


@pytest.fixture(scope="session")
def image(require: Callable[[str, Any, str], None]) -> Image:
    """What guests start from."""
    try:
        found = find_image(default_folder(), recipe_of_host())
    except LabError as error:
        found, reason = None, str(error)
    else:
        reason = "make setup-lab builds it"
    require("lab", found, reason)
    assert found is not None
    return found
