"""What is in snapshots, told by both programs: of trees that restic stored, and of those that we did."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from icebrick.backend.local import LocalBackend
from icebrick.testing.images import PASSWORD, small_repository
from icebrick.testing.oddtree import Described, describe, plant
from icebrick.testing.restic import Restic
from icebrick.testing.storedtrees import save_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd") / "tree"
    folder.mkdir()
    plant(folder, entries=20, privileged=os.geteuid() == 0)
    return folder


@pytest.fixture(scope="module", params=["ours", "restic's"])
def program(
    request: pytest.FixtureRequest, restic: str, planted: Path, tmp_path_factory: pytest.TempPathFactory
) -> Restic:
    """Pointed at a repository that has the tree in one snapshot."""
    path = tmp_path_factory.mktemp("browse") / "repository"
    stock = Restic(restic, path, PASSWORD.reveal())
    with closing(LocalBackend(path)) as backend:
        repository = small_repository(backend)
        if request.param == "ours":
            save_folder(repository, planted)
        else:
            stock.run("backup", "--quiet", str(planted))
    return stock


@pytest.fixture(scope="module")
def icebrick(program: Restic) -> Callable[..., bytes]:
    """Run a command on that repository; what it prints."""

    def run(*arguments: str) -> bytes:
        command = [Path(sys.executable).with_name("icebrick"), *arguments]
        return subprocess.run(command, env=program.environment, capture_output=True, check=True).stdout

    return run


@pytest.fixture(scope="module")
def top(program: Restic, planted: Path) -> str:
    """Where the tree is in the snapshot."""
    return next(node["path"] for node in listed(program) if node["path"] in ("/files", str(planted)))


def listed(program: Restic) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in program.run("ls", "latest", "--json").splitlines()]
    return [as_restic(line) for line in lines if line["struct_type"] == "node"]


def as_restic(node: dict[str, Any]) -> dict[str, Any]:
    """What restic 0.14 tells of a node, and as it does: bytes that are not UTF-8 replaced, zeros left out."""
    keys = ("name", "type", "path", "uid", "gid", "mode", "permissions", "mtime", "atime", "ctime", "size")
    told = {key: node[key] for key in keys if node.get(key)}
    return {key: replaced(value) if isinstance(value, str) else value for key, value in told.items()}


def replaced(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "replace")


def test_ls_tells_what_restic_tells(program: Restic, icebrick: Callable[..., bytes]) -> None:
    lines = [json.loads(line) for line in icebrick("ls", "latest", "--recursive", "--json").splitlines()]
    ours = [as_restic(line) for line in lines if line.get("struct_type") == "node"]
    assert len(ours) > 100
    assert ours == listed(program)


@pytest.mark.parametrize(
    "patterns",
    [("sparse",), ("below",), ("*.none", "fifo*"), ("links/*one",), ("**/level 5?/*",), ("not*", "mode [0-2]")],
)
def test_find_finds_what_restic_finds(
    program: Restic, icebrick: Callable[..., bytes], patterns: tuple[str, ...]
) -> None:
    ours = [json.loads(line) for line in icebrick("find", "--json", *patterns).splitlines()]
    theirs = [match["path"] for found in program.json("find", *patterns) for match in found["matches"]]
    assert theirs
    assert [replaced(match["path"]) for match in ours] == theirs


@pytest.mark.parametrize(
    "name", ["files/large", "files/sparse", "files/empty", os.fsdecode(b"names/not \xff\xfe utf-8")]
)
def test_dump_writes_what_restic_writes(
    program: Restic, icebrick: Callable[..., bytes], top: str, planted: Path, name: str
) -> None:
    path = f"{top}/{name}"
    theirs = subprocess.run(
        [program.program, "--no-cache", "dump", "latest", path],
        env=program.environment,
        capture_output=True,
        check=True,
    ).stdout
    assert icebrick("dump", "latest", path) == theirs == (planted / name).read_bytes()


@pytest.mark.parametrize("program", ["ours"], indirect=True)  # restic 0.14 does not store all of the tree
def test_tar_makes_the_tree_again_from_an_archive(
    icebrick: Callable[..., bytes], top: str, planted: Path, tmp_path: Path, require: Callable[[str, Any, str], None]
) -> None:
    tar = shutil.which("tar")
    require("tar", tar, "no tar on the PATH")
    archive = icebrick("dump", "latest", top, "--archive", "tar")
    unpack = [str(tar), "-x", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "-C", str(tmp_path)]
    subprocess.run(unpack, input=archive, capture_output=True, check=True)
    there = describe(tmp_path / top.lstrip("/"))
    assert comparable(there) == comparable(describe(planted))


def comparable(tree: dict[bytes, Described]) -> dict[bytes, Described]:
    """Without sockets, which tar cannot hold."""
    return {path: entry for path, entry in tree.items() if b"socket" not in path}
