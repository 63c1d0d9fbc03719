"""Backups of volumes on a real Cinder."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.integration.agent import GIB, MIB, PASSWORD, Agent, Tenant, digest, write

from icebrick.testing.restic import Restic

START = MIB
"""Where the partition begins."""


@pytest.fixture
def stock(restic: str, agent: Agent) -> Restic:
    return Restic(restic, agent.repository, PASSWORD)


def make_disk(device: Path) -> None:
    """A partition table with one partition of type Linux, and an ext4 in that."""
    entry = struct.pack("<8xII", START // 512, (GIB - START) // 512)
    write(device, {446: entry[:4] + b"\x83" + entry[5:], 510: b"\x55\xaa"})
    options = f"offset={START},lazy_itable_init=0,lazy_journal_init=0"
    size = f"{(GIB - START) // 1024}k"
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", options, device, size], check=True)


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-o", f"loop,offset={START}", image, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """Nothing is written to the file system meanwhile: the kernel writes its own when it likes."""
    subprocess.run(["fsfreeze", "--freeze", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", folder], check=True)


def test_a_volume_in_use_with_a_mounted_file_system_is_backed_up_and_restored_with_its_files(
    agent: Agent, tenant: Tenant, tmp_path: Path
) -> None:
    volume = tenant.make()
    letter = os.urandom(3 * MIB)
    with tenant.device(volume) as device:
        make_disk(device)
        with mounted(device, tmp_path / "live") as live:
            (live / "letter").write_bytes(letter)
            with frozen(live):
                before = digest(tenant.file(volume))
                agent.back_up(volume)
            (live / "later").write_bytes(letter)
        assert tenant.api.get(f"/volumes/{volume}")["status"] == "in-use"

    report = agent.restore(volume)

    restored = tenant.adopt(report["volume_id"])
    assert digest(tenant.file(restored)) == before
    with tenant.device(restored) as device, mounted(device, tmp_path / "restored") as files:
        assert (files / "letter").read_bytes() == letter
        assert not (files / "later").exists()


def test_the_next_backup_reads_everything_and_stores_only_what_changed(agent: Agent, tenant: Tenant) -> None:
    volume = tenant.make()
    tenant.write(volume, {0: os.urandom(24 * MIB), GIB - MIB: os.urandom(MIB)})
    first = agent.back_up(volume)
    tenant.write(volume, {8 * MIB: os.urandom(4096)})
    second = agent.back_up(volume)

    assert second["parent_id"] == first["snapshot_id"]
    assert first["bytes_read"] == second["bytes_read"] == GIB
    assert first["bytes_packed"] > 25 * MIB
    assert MIB <= second["bytes_packed"] < 2 * MIB
    assert second["digest"] != first["digest"]
    assert agent.succeed("check", "--read-data").out.endswith("no problems\n")


def test_a_volume_that_has_grown_is_backed_up_in_its_new_size(agent: Agent, tenant: Tenant) -> None:
    volume = tenant.make()
    tenant.write(volume, {MIB: os.urandom(4 * MIB)})
    agent.back_up(volume)
    tenant.grow(volume, 2)
    tenant.write(volume, {2 * GIB - 512: b"the end".ljust(512)})

    report = agent.back_up(volume)

    assert report["size"] == 2 * GIB
    assert report["bytes_packed"] < 2 * MIB
    before = digest(tenant.file(volume))
    tenant.remove(volume)
    restored = tenant.adopt(agent.restore(volume)["volume_id"])
    assert digest(tenant.file(restored)) == before


def test_a_dry_run_of_a_backup_says_what_it_would_do_and_changes_nothing(agent: Agent, tenant: Tenant) -> None:
    volume = tenant.make("web")
    files = sorted(agent.repository.rglob("*"))
    ran = agent.succeed("backup", "--dry-run", "--single-volume-id", volume)
    head, row, said = ran.out.splitlines()
    assert head.split() == ["volume", "project", "name", "size", "status", "compared", "with"]
    assert row.startswith(volume)
    assert row.split()[2:] == ["web", "1", "GiB", "available", "nothing"]
    assert said == "would back up 1 volume, 1 GiB"
    assert sorted(agent.repository.rglob("*")) == files
    tenant.assert_tidy()


def test_snapshots_are_listed_as_a_table_and_as_json(agent: Agent, tenant: Tenant) -> None:
    first, second = tenant.make(), tenant.make()
    agent.back_up(first, second)

    head, *rows, count = agent.succeed("snapshots").out.splitlines()
    assert head.split() == ["id", "time", "host", "path", "mode", "name", "size", "verified"]
    assert [row.split()[-5:] for row in rows] == [
        [f"/cinder/{each}", "blocks", "data", "1.0", "GiB"] for each in (first, second)
    ]
    assert count == "2 snapshots"

    (listed,) = agent.succeed("snapshots", "--json", "--single-volume-id", second).json
    (snapshot,) = listed
    project = tenant.api.get(f"/volumes/{second}")["os-vol-tenant-attr:tenant_id"]
    assert {f"volume:{second}", f"project:{project}", "mode:blocks", "icebrick"} <= set(snapshot["tags"])
    assert snapshot["total_bytes_processed"] == GIB


def test_a_repository_made_by_stock_restic_takes_backups_and_stock_restic_restores_them(
    agent: Agent, tenant: Tenant, stock: Restic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "theirs"))
    theirs = Restic(stock.program, tmp_path / "theirs", PASSWORD)
    theirs.run("init", "--repository-version", "2")
    volume = tenant.make()
    tenant.write(volume, {0: os.urandom(2 * MIB), GIB // 2: os.urandom(MIB)})
    agent.back_up(volume)

    assert "no errors were found" in theirs.run("check", "--read-data")
    theirs.run("restore", "latest", "--target", str(tmp_path / "out"))
    assert digest(tmp_path / "out/volume.raw") == digest(tenant.file(volume))


def test_a_repository_of_version_1_is_refused_with_the_way_out(
    agent: Agent, tenant: Tenant, stock: Restic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "old"))
    Restic(stock.program, tmp_path / "old", PASSWORD).run("init", "--repository-version", "1")
    refused = agent("backup", "--single-volume-id", tenant.make())
    assert refused.code == 1
    assert "version 1" in refused.error
    assert "restic migrate upgrade_repo_v2" in refused.hint
