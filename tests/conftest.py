"""Options and fixtures of all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

MARKERS = (
    "root: needs the rights to mount and to make devices",
    "slow: takes more than a second",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require",
        type=_names,
        default=frozenset(),
        metavar="NAME[,NAME...]",
        help="services whose absence fails the tests that need them, instead of skipping these: restic, root, ...",
    )


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


@dataclass(frozen=True, slots=True)
class Requirements:
    """What must be there, by `--require`. For fixtures: `require("restic", path, "not installed")`."""

    required: frozenset[str]

    def __call__(self, name: str, available: Any, reason: str) -> None:
        """Go on when `available` is true; else skip the test, or fail it when `name` is required."""
        if available:
            return
        if name in self.required:
            pytest.fail(f"{name} is required but missing: {reason}", pytrace=False)
        pytest.skip(f"{name}: {reason}")


@pytest.fixture(scope="session")
def require(request: pytest.FixtureRequest) -> Callable[[str, Any, str], None]:
    """See `Requirements`."""
    return Requirements(request.config.getoption("--require"))


@pytest.fixture(scope="session")
def root(require: Callable[[str, Any, str], None]) -> None:
    """The right to mount and to make devices."""
    require("root", os.geteuid() == 0, "mounting needs root")


@pytest.fixture(scope="session")
def restic(require: Callable[[str, Any, str], None]) -> str:
    """Path of the stock restic program."""
    path = shutil.which("restic")
    require("restic", path, "no restic on the PATH")
    return str(path)
