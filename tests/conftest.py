"""Options and fixtures of all tests."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from icebrick.backend.memory import MemoryBackend
from icebrick.testing.wholeness import problems_in_memory, problems_on_disk

pytest_plugins = ("pytester", "tests.media", "tests.reader")

MARKERS = (
    "damages_repository(why): leaves a repository with which stock restic finds something wrong",
    "root: needs the rights to mount and to make devices",
    "slow: takes more than a second",
)

MOST_IN_MEMORY = 10
"""How many repositories of one test are checked: some make hundreds, and each check starts a process."""


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
    os.environ.setdefault("ICEBRICK_READER", "host")  # a virtual machine takes seconds: tests of the reader ask for one


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests recorded as `told` is for people to read: counts of what happened to many cases."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, text in report.user_properties:
                if name == "told":
                    terminalreporter.section(report.nodeid)
                    terminalreporter.write_line(str(text))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs in a guest takes one worker the longest, so it begins first."""
    items.sort(key=lambda item: "laboratory" not in item.path.parts)


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


@pytest.fixture(autouse=True)
def whole_repositories(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stock restic finds nothing wrong with what the test has made, unless the test is marked `damages_repository`.

    Looked at are all repositories below `tmp_path`, and the last `MOST_IN_MEMORY` in memory.
    """
    program = shutil.which("restic")
    marker = request.node.get_closest_marker("damages_repository")
    if program is None or marker is not None:
        yield
        return
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    with _backends_in_memory() as backends:
        yield
    problems = [problem for backend in backends for problem in problems_in_memory(program, backend)]
    if folder is not None:
        problems += problems_on_disk(program, folder)
    assert not problems, "\n".join(problems)


@contextmanager
def _backends_in_memory() -> Iterator[deque[MemoryBackend]]:
    """Those made in the block, the newest of them."""
    made: deque[MemoryBackend] = deque(maxlen=MOST_IN_MEMORY)
    make = MemoryBackend.__init__

    def note(backend: MemoryBackend) -> None:
        make(backend)
        made.append(backend)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryBackend, "__init__", note)
        yield made
