"""`icebrick repair`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.cli.conftest import PASSWORD, Icebrick

from icebrick.backend.base import FileType, Handle
from icebrick.backend.local import LocalBackend
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.repository import open_repository
from icebrick.secret import Secret
from icebrick.testing.repositories import add_snapshot

LARGE = bytes(range(256)) * 100


@pytest.fixture
def filled(location: Path) -> Path:
    """A repository with two snapshots."""
    with closing(LocalBackend(location)) as backend:
        repository = open_repository(backend, Secret(PASSWORD))
        add_snapshot(repository, {"one": LARGE})
        add_snapshot(repository, {"two\n": b"2" * 5000}, 1)
    return location


def files(location: Path, file_type: FileType) -> list[Path]:
    return sorted(path for path in (location / file_type.value).rglob("*") if path.is_file())


def rewrite(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[25] ^= 1
    rewrite(path, content)


def test_a_damaged_index_file_is_mended_and_told(icebrick: Icebrick, filled: Path) -> None:
    rewrite(files(filled, FileType.INDEX)[0], b"damaged")
    assert icebrick("snapshots").code == 0
    assert "'icebrick repair index' mends it" in icebrick("ls", "latest").err
    ran = icebrick("repair", "index")
    assert ran.code == 0
    assert ran.out.startswith("problem: index file ")
    assert ran.out.endswith("replaced 1 index file by 1, indexed 2 packs by their headers\n")
    assert icebrick("check", "--read-data").code == 0


def test_a_dry_run_of_an_index_repair_changes_nothing(icebrick: Icebrick, filled: Path) -> None:
    files(filled, FileType.INDEX)[0].unlink()
    [plan] = icebrick("repair", "index", "--dry-run", "--json").json
    assert (plan["message_type"], plan["pack_headers_to_read"], len(plan["problems"])) == ("plan", 2, 2)
    assert len(files(filled, FileType.INDEX)) == 1
    icebrick("repair", "index")


@pytest.mark.damages_repository("what is lost is lost")
def test_from_damaged_packs_to_whole_snapshots(icebrick: Icebrick, filled: Path) -> None:
    for path in files(filled, FileType.PACK):
        if path.stat().st_size < 300:
            continue
        flip(path)
    assert icebrick("check", "--read-data").code == 1
    assert "would replace" in icebrick("repair", "packs", "--dry-run").out
    packs = icebrick("repair", "packs")
    assert packs.code == 3
    assert "'icebrick repair snapshots' takes them out" in packs.err
    snapshots = icebrick("repair", "snapshots", "--json", "-q")
    assert snapshots.code in {0, 3}
    icebrick("repair", "snapshots", "--forget")
    assert icebrick("check", "--read-data").code == 0
    assert icebrick("prune").code == 0


@pytest.mark.damages_repository("one of two snapshots is lost")
def test_names_from_a_snapshot_make_no_lines_of_ours(icebrick: Icebrick, filled: Path) -> None:
    with closing(LocalBackend(filled)) as backend:
        found = open_repository(backend, Secret(PASSWORD)).load_index().find(BlobType.DATA, digest(b"2" * 5000))
        assert found is not None
        backend.remove(Handle(FileType.PACK, found[0].hex()))
    icebrick("repair", "index")
    told = icebrick("repair", "snapshots", "--dry-run").out.splitlines()
    assert told[1:] == [r"  /files/two\n: 1 of 1 blobs are lost, 5000 bytes are now zeros", "1 damaged snapshot"]


@pytest.mark.parametrize("text", ["abc", "x" * 64])
def test_what_cannot_be_the_id_of_a_pack_is_refused(icebrick: Icebrick, filled: Path, text: str) -> None:
    ran = icebrick("repair", "packs", text)
    assert (ran.code, "is not the id of a pack" in ran.err) == (2, True)


def test_a_whole_repository_needs_nothing(icebrick: Icebrick, filled: Path) -> None:
    assert "replaced 0 index files by 0" in icebrick("repair", "index").out
    assert icebrick("repair", "packs").out == "removed 0 damaged packs of 4; 0 blobs saved, 0 lost\n"
    assert icebrick("repair", "snapshots").out == "0 damaged snapshots, 0 of them with a successor\n"
