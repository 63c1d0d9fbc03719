"""What a repository's storage can do to backups and restores of volumes: told, and never passed on as good data."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.integration.agent import MIB, Agent, Tenant, digest

from icebrick.backend.wrap.retry import RetryPolicy
from icebrick.devcloud.devcloud import Devcloud
from icebrick.testing.restic import Restic

damages = pytest.mark.damages_repository("the error is what is tested")


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icebrick.app.RetryPolicy", lambda: RetryPolicy(attempts=2, base=0.01))


@pytest.fixture
def volume(agent: Agent, tenant: Tenant) -> str:
    """With data, and backed up."""
    volume_id = tenant.make()
    tenant.write(volume_id, {0: os.urandom(6 * MIB)})
    agent.back_up(volume_id)
    return volume_id


@contextmanager
def mounted(*command: str | Path) -> Iterator[None]:
    """`command` without 'mount'; what it names last is a mount until the block ends."""
    subprocess.run(["mount", *command], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", command[-1]], check=True)


def test_a_disk_that_fills_up_under_a_backup_is_told_and_the_snapshots_before_it_restore(
    agent: Agent, tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: None
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=32m", "tmpfs", small):
        subprocess.run(["cp", "-r", agent.repository, small / "repository"], check=True)
        monkeypatch.setenv("RESTIC_REPOSITORY", str(small / "repository"))
        volume = tenant.make()
        tenant.write(volume, {0: os.urandom(6 * MIB)})
        agent.back_up(volume)
        before = digest(tenant.file(volume))
        tenant.write(volume, {64 * MIB: os.urandom(40 * MIB)})

        refused = agent("backup", "--single-volume-id", volume)

        assert refused.code == 1
        assert "no space left on device" in refused.error
        assert str(small) in refused.error
        assert "Free some space" in refused.hint
        tenant.assert_tidy()
        agent.succeed("restore", "--single-volume-id", volume, "--target", tmp_path / "proof.raw")
    assert digest(tmp_path / "proof.raw") == before


def test_a_repository_that_cannot_be_written_is_told_and_the_cloud_is_left_alone(
    agent: Agent, tenant: Tenant, volume: str, root: None
) -> None:
    with mounted("--bind", "-o", "ro", agent.repository, agent.repository):
        refused = agent("backup", "--single-volume-id", volume)
    assert refused.code == 1
    assert "read-only file system" in refused.error
    assert str(agent.repository) in refused.error
    tenant.assert_tidy()


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size // 2)


def largest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


@damages
@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
def test_a_damaged_pack_ends_a_restore_and_the_volume_that_was_begun_does_not_stay(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, volume: str, damage: Callable[[Path], None]
) -> None:
    tenant.remove(volume)
    pack = largest(agent.repository / "data")
    damage(pack)

    refused = agent("restore", "--single-volume-id", volume)

    assert refused.code == 1
    assert pack.name in refused.error
    assert "damaged" in refused.error
    assert "icebrick check --read-data" in refused.hint
    assert any(operation.operation == "delete_volume" for operation in devcloud.ops()[-4:])
    tenant.assert_tidy()


@damages
def test_a_damaged_pack_ends_a_restore_to_a_file_without_the_file(agent: Agent, volume: str, tmp_path: Path) -> None:
    flip(largest(agent.repository / "data"))
    (tmp_path / "out").mkdir()
    assert agent("restore", "--single-volume-id", volume, "--target", tmp_path / "out" / "disk.raw").error
    assert list((tmp_path / "out").iterdir()) == []


@damages
def test_a_copy_needs_nothing_of_a_damaged_pack_while_the_volume_still_has_the_data(
    agent: Agent, tenant: Tenant, volume: str
) -> None:
    before = digest(tenant.file(volume))
    flip(largest(agent.repository / "data"))
    copy = tenant.adopt(agent.restore(volume)["volume_id"])
    assert digest(tenant.file(copy)) == before


@damages
def test_a_truncated_index_ends_backups_restores_and_checks_with_the_files_name(
    agent: Agent, tenant: Tenant, volume: str
) -> None:
    (index,) = [path for path in (agent.repository / "index").iterdir()]
    truncate(index)
    for command in (["backup", "--single-volume-id", volume], ["restore", "--single-volume-id", volume]):
        refused = agent(*command)
        assert refused.code == 1
        assert f"index/{index.name[:8]}" in refused.error
    checked = agent("check")
    assert checked.code == 1
    assert index.name[:8] in checked.out
    tenant.assert_tidy()


@damages
def test_a_damaged_pack_is_found_by_check(agent: Agent, volume: str) -> None:
    pack = largest(agent.repository / "data")
    flip(pack)
    checked = agent("check", "--read-data")
    assert checked.code == 1
    assert pack.name in checked.out
    assert "is damaged" in checked.error


def test_stock_restic_judges_a_repository_sound_after_a_backup_was_interrupted_by_its_storage(
    agent: Agent, tenant: Tenant, volume: str, restic: str, tmp_path: Path, root: None
) -> None:
    with mounted("--bind", "-o", "ro", agent.repository, agent.repository):
        agent("backup", "--single-volume-id", volume)
    agent.back_up(volume)
    assert "no errors were found" in Restic(restic, agent.repository, os.environ["RESTIC_PASSWORD"]).run("check")
