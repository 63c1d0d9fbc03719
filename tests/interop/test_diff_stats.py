"""What snapshots hold and what differs between them: what we say of it is what stock restic says."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from icebrick.backend.local import LocalBackend
from icebrick.cli.main import run
from icebrick.repository.repository import init_repository
from icebrick.secret import Secret
from icebrick.testing.repositories import CHEAP
from icebrick.testing.restic import Restic

pytestmark = pytest.mark.slow

PASSWORD = "geheim"
NOISE = random.Random(1).randbytes(3 << 20)


def grow(folder: Path, step: int) -> None:
    """A directory as of three moments."""
    match step:
        case 0:
            (folder / "sub" / "deep").mkdir(parents=True)
            (folder / "big").write_bytes(NOISE)
            os.link(folder / "big", folder / "linked")
            shutil.copy(folder / "big", folder / "sub" / "copy")
            (folder / "sub" / "deep" / "b").write_text("b")
            (folder / "a").write_text("a")
            (folder / "kind").write_text("was a file")
            (folder / os.fsdecode(b"caf\xe9")).write_text("not UTF-8")
            (folder / "same").mkdir()
            (folder / "same" / "a").write_text("a")
        case 1:
            (folder / "a").write_text("other")
            (folder / "sub" / "deep" / "b").unlink()
            (folder / "sub" / "new" / "below").mkdir(parents=True)
            (folder / "sub" / "new" / "below" / "n").write_text("n")
            (folder / "link").symlink_to("a")
            os.mkfifo(folder / "fifo")
            (folder / "big").chmod(0o600)
            (folder / "kind").unlink()
            (folder / "kind").symlink_to("a")
        case 2:
            shutil.rmtree(folder / "sub")
            (folder / "fifo").unlink()
            (folder / os.fsdecode(b"caf\xe9")).write_text("changed")


@pytest.fixture(scope="module")
def stock(restic: str, tmp_path_factory: pytest.TempPathFactory) -> Restic:
    """A repository with three snapshots of a directory."""
    folder = tmp_path_factory.mktemp("compared")
    with closing(LocalBackend(folder / "repository")) as backend:
        init_repository(backend, Secret(PASSWORD), parameters=CHEAP)
    stock = Restic(restic, folder / "repository", PASSWORD)
    (folder / "tree").mkdir()
    for step in range(3):
        grow(folder / "tree", step)
        stock.run("backup", str(folder / "tree"))
    return stock


@pytest.fixture(scope="module")
def ids(stock: Restic) -> list[str]:
    return [snapshot["id"] for snapshot in sorted(stock.json("snapshots"), key=lambda each: str(each["time"]))]


Ours = Callable[..., list[Any]]


@pytest.fixture
def ours(stock: Restic, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ours:
    """What a command of ours prints, read as JSON."""
    monkeypatch.setenv("RESTIC_REPOSITORY", str(stock.repository))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)

    def invoke(*words: str) -> list[Any]:
        assert run([*words, "--json", "--quiet"], as_json=True) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return invoke


@pytest.mark.parametrize("mode", ["restore-size", "files-by-contents", "raw-data"])
@pytest.mark.parametrize("which", [None, 0, 2])
def test_stats_are_those_of_restic(stock: Restic, ids: list[str], ours: Ours, mode: str, which: int | None) -> None:
    words = ["stats", "--mode", mode, *([] if which is None else [ids[which]])]
    theirs = stock.json(*words)
    (found,) = ours(*words)
    assert {name: found[name] for name in theirs if name in found} == {
        name: count for name, count in theirs.items() if name in found
    }
    assert {"total_size", "snapshots_count"} <= theirs.keys() & found.keys()


@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (1, 2), (2, 0), (1, 1)])
@pytest.mark.parametrize("options", [[], ["--metadata"]])
def test_differences_are_those_that_restic_tells(
    stock: Restic, ids: list[str], ours: Ours, pair: tuple[int, int], options: list[str]
) -> None:
    words = ["diff", *options, *(ids[number] for number in pair)]
    *changes, theirs = [json.loads(line) for line in stock.run(*words, "--json").splitlines()]
    *ours_changes, found = ours(*words)
    assert [_shown(change) for change in ours_changes] == [_shown(change) for change in changes]
    for name in ("changed_files", "added", "removed"):
        assert found[name] == theirs[name], name


def _shown(change: dict[str, Any]) -> tuple[str, str]:
    """Restic's JSON has no bytes that are not UTF-8."""
    path = change["path"].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return change["modifier"], path
