"""Running commands in this process, against a repository in a temporary directory."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.ran import Ran

from icebrick.backend.local import LocalBackend
from icebrick.cli.main import run
from icebrick.repository.keyfile import ScryptParameters
from icebrick.repository.repository import init_repository
from icebrick.secret import Secret

PASSWORD = "correct horse battery staple"


Icebrick = Callable[..., Ran]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("RESTIC_REPOSITORY", "RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "OS_CLOUD", "ICEBRICK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ICEBRICK_STATE_DIR", str(tmp_path / "state"))
    root, ours = logging.getLogger(), logging.getLogger("icebrick")
    handlers, level, our_level = root.handlers, root.level, ours.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    ours.setLevel(our_level)


@pytest.fixture
def icebrick(capsys: pytest.CaptureFixture[str]) -> Icebrick:
    def invoke(*arguments: str | Path) -> Ran:
        texts = [str(argument) for argument in arguments]
        code = run(texts, as_json="--json" in texts)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return invoke


@pytest.fixture(scope="session")
def empty_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied: making its directories durable takes a while."""
    path = tmp_path_factory.mktemp("template") / "repository"
    init_repository(LocalBackend(path), Secret(PASSWORD), parameters=ScryptParameters(n=2))
    return path


@pytest.fixture
def location(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_repository: Path) -> Path:
    """A new repository, which commands use unless they name another."""
    path = tmp_path / "repository"
    shutil.copytree(empty_repository, path)
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    monkeypatch.setenv("RESTIC_REPOSITORY", str(path))
    return path


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An image: some data, and holes."""
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.write(bytes(range(256)) * 8192)
        file.truncate(8 << 20)
    return path
