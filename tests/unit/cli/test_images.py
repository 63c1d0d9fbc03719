"""Image files, from backup to restore, as a user sees it."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pytest
from tests.unit.cli.conftest import PASSWORD, Icebrick

from icebrick.cli import target as target_restore
from icebrick.workflow.restore import restore_to_path


@pytest.fixture
def snapshot_id(icebrick: Icebrick, location: Path, disk: Path) -> str:
    (summary,) = icebrick("backup", "--image", disk, "--name", "disk1", "--json").json
    return str(summary["backups"][0]["snapshot_id"])


def test_a_backup_is_told_in_a_line(icebrick: Icebrick, location: Path, disk: Path) -> None:
    ran = icebrick("backup", "--image", disk, "--name", "disk1")
    assert ran.code == 0
    assert ran.out.startswith("snapshot ")
    assert " of /image/disk1: 8.0 MiB in blocks, read " in ran.out
    assert ran.err == ""


def test_a_backup_is_told_as_json(icebrick: Icebrick, location: Path, disk: Path) -> None:
    (summary,) = icebrick("backup", "--image", disk, "--name", "disk1", "--json").json
    assert summary["message_type"] == "summary"
    assert summary["backups"][0]["size"] == 8 << 20


def test_snapshots_lists_it(icebrick: Icebrick, snapshot_id: str) -> None:
    (listed,) = icebrick("snapshots", "--json").json
    assert [snapshot["id"] for snapshot in listed] == [snapshot_id]
    assert snapshot_id[:8] in icebrick("snapshots").out


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--image-name", "disk1"], 1),
        (["--image-name", "disk2"], 0),
        (["--single-volume-id", "v"], 0),
        (["--tag", "icebrick"], 1),
        (["--tag", "icebrick", "--tag", "other"], 0),
    ],
)
def test_snapshots_can_be_narrowed(icebrick: Icebrick, snapshot_id: str, arguments: list[str], count: int) -> None:
    (listed,) = icebrick("snapshots", "--json", *arguments).json
    assert len(listed) == count


def test_a_restored_file_is_the_image(icebrick: Icebrick, snapshot_id: str, disk: Path, tmp_path: Path) -> None:
    target = tmp_path / "restored.raw"
    assert icebrick("restore", "--image-name", "disk1", "--target", target).code == 0
    assert target.read_bytes() == disk.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_snapshot_may_be_named_by_the_beginning_of_its_id(
    icebrick: Icebrick, snapshot_id: str, disk: Path, tmp_path: Path
) -> None:
    target = tmp_path / "restored.raw"
    assert icebrick("restore", "--snapshot", snapshot_id[:8], "--target", target).code == 0
    assert target.read_bytes() == disk.read_bytes()


def test_an_existing_file_is_not_replaced_unless_forced(
    icebrick: Icebrick, snapshot_id: str, disk: Path, tmp_path: Path
) -> None:
    target = tmp_path / "restored.raw"
    target.write_text("precious")
    refused = icebrick("restore", "--image-name", "disk1", "--target", target)
    assert (refused.code, target.read_text()) == (2, "precious")
    assert icebrick("restore", "--image-name", "disk1", "--target", target, "--force").code == 0
    assert target.read_bytes() == disk.read_bytes()


def test_standard_output_gets_the_image_and_nothing_else(
    icebrick: Icebrick, snapshot_id: str, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr("sys.stdout", piped)
    assert icebrick("restore", "--image-name", "disk1", "--target", "-").code == 0
    piped.seek(0)
    assert piped.buffer.read() == disk.read_bytes()


def test_verify_writes_a_receipt(icebrick: Icebrick, snapshot_id: str, tmp_path: Path) -> None:
    target, receipt = tmp_path / "restored.raw", tmp_path / "receipt.json"
    ran = icebrick("restore", "--image-name", "disk1", "--target", target, "--verify", "--receipt", receipt)
    assert ran.code == 0
    content = json.loads(receipt.read_text())
    assert (content["snapshot_id"], content["size"], content["mismatches"]) == (snapshot_id, 8 << 20, 0)


def test_differences_end_with_3_and_are_in_the_receipt(
    icebrick: Icebrick, snapshot_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, receipt = tmp_path / "restored.raw", tmp_path / "receipt.json"

    def damaging(*args: object, **kwargs: object) -> object:
        report = restore_to_path(*args, **kwargs)  # type: ignore[arg-type]
        with target.open("r+b") as file:
            file.write(b"damaged")
        return report

    monkeypatch.setattr(target_restore, "restore_to_path", damaging)
    ran = icebrick("restore", "--image-name", "disk1", "--target", target, "--verify", "--receipt", receipt)
    assert ran.code == 3
    assert json.loads(receipt.read_text())["first_mismatches"][0]["offset"] == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["backup"], "which volumes: expected exactly one of single-volume-id, all-tenant-volumes"),
        (["backup", "--image", "x"], "--image and --name belong together"),
        (["backup", "--single-volume-id", "v", "--image", "x", "--name", "y"], "--single-volume-id is for volumes"),
        (["backup", "--single-volume-id", "v", "--host", "h"], "--host is for images"),
        (["backup", "--image", "x", "--name", "y", "--dry-run"], "--dry-run is for volumes"),
        (["backup", "--image", "/dev/null", "--name", "y"], "neither a file nor a block device"),
        (["backup", "--image", "/absent", "--name", "y"], "cannot open /absent"),
        (["restore"], "which volumes: expected exactly one of"),
        (["restore", "--target", "x"], "name a volume with single-volume-id"),
        (["restore", "--single-volume-id", "v", "--image-name", "x", "--target", "y"], "exclude each other"),
        (["restore", "--image-name", "x"], "--image-name needs a --target"),
        (["restore", "--single-volume-id", "v", "--host", "h"], "--host needs a --target"),
        (["restore", "--single-volume-id", "v", "--force"], "--force needs a --target"),
        (["restore", "--image-name", "x", "--target", "y", "--meta-override"], "--meta-override is for volumes"),
        (["restore", "--image-name", "x", "--target", "y", "--receipt", "r"], "--receipt needs --verify"),
        (["restore", "--image-name", "x", "--target", "-", "--verify"], "cannot be verified"),
        (["restore", "--image-name", "x", "--target", "-", "--json"], "both want the standard output"),
        (
            ["restore", "--snapshot", "ab", "--restore-from-date", "2026-01-01"],
            "--restore-from-date exclude each other",
        ),
        (["restore", "--image-name", "x", "--target", "y", "--restore-from-date", "soon"], "not a date or time"),
    ],
)
def test_contradictions_are_told(icebrick: Icebrick, location: Path, arguments: list[str], problem: str) -> None:
    ran = icebrick(*arguments)
    assert ran.code == 2
    assert problem in ran.err


def test_an_image_that_is_not_there_ends_with_1(icebrick: Icebrick, snapshot_id: str, tmp_path: Path) -> None:
    ran = icebrick("restore", "--image-name", "disk2", "--target", tmp_path / "x")
    assert ran.code == 1
    assert "no snapshot of image disk2" in ran.err


def test_check_finds_no_problems(icebrick: Icebrick, snapshot_id: str) -> None:
    ran = icebrick("check", "--read-data")
    assert (ran.code, "no problems" in ran.out) == (0, True)


@pytest.mark.damages_repository("check must find it")
def test_check_finds_damage_and_ends_with_1(icebrick: Icebrick, snapshot_id: str, location: Path) -> None:
    pack = next(path for path in location.glob("data/*/*"))
    pack.chmod(0o600)
    pack.write_bytes(pack.read_bytes()[:-1])
    ran = icebrick("check")
    assert ran.code == 1
    assert pack.name in ran.out


def test_the_debug_log_of_all_commands_never_holds_the_password(
    icebrick: Icebrick, location: Path, disk: Path, tmp_path: Path
) -> None:
    told = [
        icebrick("-vv", "config", "show"),
        icebrick("-vv", "backup", "--image", disk, "--name", "disk1"),
        icebrick("-vv", "snapshots"),
        icebrick("-vv", "check", "--read-data"),
        icebrick("-vv", "restore", "--image-name", "disk1", "--target", tmp_path / "x", "--verify"),
        icebrick("-vv", "restore", "--image-name", "absent", "--target", tmp_path / "y"),
    ]
    assert [ran.code for ran in told] == [0, 0, 0, 0, 0, 1]
    assert any("DEBUG" in ran.err for ran in told)
    assert all(PASSWORD not in ran.out + ran.err for ran in told)
