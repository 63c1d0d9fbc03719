"""Whole commands with volumes that hold file systems: in use, changed, lost, and brought back file by file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.agent import MIB, Agent, Tenant

from icebrick.filesystem.base import TYPES
from icebrick.filesystem.mount import mounted_for_reading, mounted_for_writing
from icebrick.filesystem.programs import run_program
from icebrick.kernel import sync_file_system
from icebrick.testing.oddtree import describe, plant

pytestmark = pytest.mark.slow

LARGE = os.urandom(4 * MIB)


@contextmanager
def in_use(tenant: Tenant, volume_id: str, file_system: str) -> Iterator[int]:
    """Attached and mounted, as by a server: a descriptor of the root directory."""
    with tenant.device(volume_id) as device, mounted_for_writing(str(device), file_system) as root:
        yield root


def write(root: int, name: str, content: bytes) -> None:
    """Safely, as far as this file goes: nothing else is synchronised."""
    with open(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=root), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def described(tenant: Tenant, volume_id: str, file_system: str) -> Any:
    with tenant.device(volume_id) as device, mounted_for_reading(str(device), file_system) as root:
        return describe(root)


@pytest.mark.parametrize("file_system", TYPES)
def test_a_mounted_file_system_is_backed_up_and_comes_back(
    agent: Agent, tenant: Tenant, file_system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icebrick.workflow.saving.UNSETTLED_NS", 0)  # or all would be read again
    volume = tenant.make()
    with tenant.device(volume) as device:
        run_program([f"mkfs.{file_system}", "-q", "-L", "data", str(device)])
    with in_use(tenant, volume, file_system) as root:
        plant(Path(f"/proc/self/fd/{root}"), entries=40)
        sync_file_system(root)
        write(root, "large", LARGE)
        first = agent.back_up(volume)
        write(root, "late", b"only in the journal")
        second = agent.back_up(volume)
        write(root, "large", b"overwritten")
    tenant.assert_tidy()
    assert [first["mode"], second["mode"], second["parent_id"]] == ["files", "files", first["snapshot_id"]]
    assert first["bytes_read"] > len(LARGE) > MIB > second["bytes_read"]

    restored = agent.restore(volume, "--verify", "--delete-extra", "--snapshot", second["snapshot_id"])
    copy = tenant.adopt(restored["volume_id"])
    assert restored["way"] == "copy"
    assert restored["filled"]["bytes_written"] < len(LARGE) + MIB
    was = described(tenant, copy, file_system)
    assert was[b"late"].size == len(b"only in the journal")

    tenant.remove(copy)  # mkfs.btrfs gives no UUID that another device has
    tenant.remove(volume)
    anew = agent.restore(volume, "--verify")
    assert anew["way"] == "new"
    assert (anew["receipt"]["mismatches"], anew["receipt"]["extra"]) == (0, 0)
    assert described(tenant, tenant.adopt(anew["volume_id"]), file_system) == was
    tenant.assert_tidy()


def test_a_file_system_in_use_is_read_in_isolation_as_by_this_host(
    agent: Agent, tenant: Tenant, reader_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICEBRICK_READER_DIR", str(reader_dir))
    volume = tenant.make()
    with tenant.device(volume) as device:
        run_program(["mkfs.xfs", "-q", str(device)])
    with in_use(tenant, volume, "xfs") as root:
        plant(Path(f"/proc/self/fd/{root}"), entries=40)
        sync_file_system(root)
        write(root, "late", b"only in the journal")
        backup = ["backup", "--json", "--single-volume-id", volume, "--mode", "files"]
        isolated = agent.succeed(*backup, "--reader", "vm").record()["backups"][0]
        own = agent.succeed(*backup, "--reader", "host").record()["backups"][0]
    tenant.assert_tidy()
    assert isolated["problem_count"] == own["problem_count"] == 0
    assert isolated["digest"] == own["digest"]


def test_a_partitioned_volume_is_backed_up_as_blocks_and_why_is_told(agent: Agent, tenant: Tenant) -> None:
    volume = tenant.make()
    partition = bytes(446) + bytes.fromhex("00010100830100000008000000100000") + bytes(48) + b"\x55\xaa"
    tenant.write(volume, {0: partition})
    report = agent.back_up(volume)
    assert (report["mode"], report["mode_reason"]) == ("blocks", "the volume holds a partition table (dos)")
    ran = agent("backup", "--single-volume-id", volume, "--mode", "files")
    assert "cannot be backed up file by file: the volume holds a partition table (dos)" in ran.error
