"""The nodes of our backups are what stock restic writes of the same files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from icebrick.backend.local import LocalBackend
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import BlobType
from icebrick.repository.repository import Repository, open_repository
from icebrick.testing.images import PASSWORD, small_repository
from icebrick.testing.oddtree import plant
from icebrick.testing.restic import Restic
from icebrick.testing.storedtrees import save_folder

pytestmark = pytest.mark.slow

OTHERWISE = {
    "user",  # names of the volume's users are not known to this host
    "group",
    "device_id",  # ours tells subvolumes apart, and not how the host numbers its devices
    "linktarget_raw",  # newer than the restic of Debian 12
    "content",  # cut elsewhere
    "subtree",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "odd"
    folder.mkdir()
    plant(folder, entries=20, privileged=os.geteuid() == 0)
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    backend = LocalBackend(tmp_path / "repository")
    small_repository(backend)
    yield open_repository(backend, PASSWORD)
    backend.close()


@pytest.fixture
def program(restic: str, repository: Repository, tmp_path: Path) -> Restic:
    return Restic(restic, tmp_path / "repository", PASSWORD.reveal())


def trees(store: BlobStore, tree: bytes, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All nodes below a tree, by their paths, as they are stored."""
    for node in json.loads(store.load(BlobType.TREE, tree))["nodes"]:
        yield f"{path}/{node['name']}", node
        if node["type"] == "dir":
            yield from trees(store, bytes.fromhex(node["subtree"]), f"{path}/{node['name']}")


def nodes_below(repository: Repository, snapshot_id: str, folder: str) -> dict[str, Mapping[str, Any]]:
    """By their paths below the folder."""
    found = trees(repository.load_index(), repository.load_snapshot(snapshot_id).tree)
    return {path.removeprefix(folder): node for path, node in found if path.startswith(folder + "/")}


def comparable(node: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in node.items() if name not in OTHERWISE}
    attributes = fields.pop("extended_attributes", [])
    if node["type"] != "symlink":  # of which restic 0.14 stores none
        fields["extended_attributes"] = sorted(attributes, key=lambda item: str(item["name"]))
    return fields


def test_the_nodes_are_those_of_restic(program: Restic, repository: Repository, folder: Path) -> None:
    ours = nodes_below(repository, save_folder(repository, folder), "/files")
    program.run("backup", str(folder))
    (snapshot,) = program.json("snapshots", "--path", str(folder))
    theirs = nodes_below(repository, snapshot["id"], str(folder))
    sockets = {path for path, node in ours.items() if node["type"] == "socket"}
    assert sockets  # which restic does not back up
    assert {path: comparable(node) for path, node in ours.items() if path not in sockets} == {
        path: comparable(node) for path, node in theirs.items()
    }
    program.run("check", "--read-data")


def test_restic_lists_what_we_stored(program: Restic, repository: Repository, folder: Path) -> None:
    snapshot_id = save_folder(repository, folder)
    lines = program.run("ls", "--json", snapshot_id).splitlines()
    listed = [json.loads(line) for line in lines if '"struct_type":"node"' in line]
    wanted = {
        "/files/" + os.path.relpath(os.path.join(path, name), folder)
        for path, folders, names in os.walk(folder)
        for name in (*folders, *names)
    }
    shown = {path.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for path in wanted}
    assert {node["path"] for node in listed if node["path"].startswith("/files/")} == shown
    sizes = {node["path"]: node.get("size", 0) for node in listed}
    assert sizes["/files/files/sparse"] == (folder / "files" / "sparse").stat().st_size
