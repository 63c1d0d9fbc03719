"""Jobs and the options of volumes on the command line, as far as no cloud is needed to tell what is wrong with them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import PASSWORD, Icebrick


class Terminal(io.StringIO):
    """With somebody at it."""

    def isatty(self) -> bool:
        return True


def job(tmp_path: Path, **document: Any) -> Path:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(document))
    return path


def test_a_job_is_refused_for_the_same_reason_as_the_command(icebrick: Icebrick, tmp_path: Path) -> None:
    commanded = icebrick("restore", "--single-volume-id", "v", "--in-place", "--remove-old-vol")
    document = job(tmp_path, action="restore", single_volume_id="v", in_place=True, remove_old_vol=True)
    ran = icebrick("run", document)
    assert ran == commanded
    assert ran.code == 2
    assert "in-place and remove-old-vol exclude each other" in ran.err


def test_a_job_may_come_from_standard_input(icebrick: Icebrick, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"action": "backup", "colt": true}')))
    ran = icebrick("run", "-")
    assert ran.code == 2
    assert "error: job standard input: colt: unknown key" in ran.err
    assert "hint: Did you mean 'cold'?" in ran.err


def test_the_command_line_counts_more_than_the_job(icebrick: Icebrick, tmp_path: Path) -> None:
    document = job(tmp_path, action="restore", single_volume_id="v", in_place=True, to_project="0a")
    assert "in-place is where the volume is" in icebrick("run", document).err
    ran = icebrick("run", document, "--no-in-place", "--remove-old-vol")
    assert "remove-old-vol is not for a restore to another" in ran.err


@pytest.mark.parametrize(
    ("document", "arguments", "problem"),
    [
        ({"action": "backup", "all_tenants": True}, ["--verify"], "--verify is for a restore, and not this job"),
        ({"action": "restore", "all_tenants": True}, ["--cold"], "--cold is for a backup, and not this job"),
        ({"action": "restore", "single_volume_id": "v"}, ["--dry-run"], "--dry-run is for backups"),
        ({"action": "backup"}, [], "which volumes: expected exactly one of"),
        ({"action": "backup", "all_tenants": True, "single_volume_id": "v"}, [], "exclude each other"),
    ],
)
def test_what_a_job_cannot_mean_is_told(
    icebrick: Icebrick, tmp_path: Path, document: dict[str, Any], arguments: list[str], problem: str
) -> None:
    ran = icebrick("run", job(tmp_path, **document), *arguments)
    assert ran.code == 2
    assert problem in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["backup", "--image", "x", "--name", "y", "--cold"],
        ["backup", "--image", "x", "--name", "y", "--exclude", "v"],
        ["restore", "--image-name", "x", "--target", "y", "--in-place"],
        ["restore", "--snapshot", "4f0b", "--target", "y", "--all-tenants"],
    ],
)
def test_options_of_volumes_are_not_for_images(icebrick: Icebrick, arguments: list[str]) -> None:
    ran = icebrick(*arguments)
    assert ran.code == 2
    assert "is for volumes" in ran.err


def test_what_the_file_says_of_volumes_is_not_in_the_way_of_images(
    icebrick: Icebrick, location: Path, disk: Path, tmp_path: Path
) -> None:
    config = tmp_path / "icebrick.conf"
    config.write_text("[cinder-osbrick]\nall-tenant-volumes = yes\nfilter = name=db-*\ncold = yes\nin-place = yes\n")
    assert icebrick("--config", config, "backup", "--image", disk, "--name", "disk").code == 0
    target = tmp_path / "restored.raw"
    assert icebrick("--config", config, "restore", "--image-name", "disk", "--target", target).code == 0
    assert target.read_bytes() == disk.read_bytes()


def test_each_project_has_a_repository_of_its_own(
    icebrick: Icebrick, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    location = f"{tmp_path}/{{project_id}}"
    assert "one for each project, and no project is known" in icebrick("-r", location, "init").err
    for project_id in ("0a", "0b"):
        assert icebrick("-r", location, "--project-id", project_id, "init").code == 0
    image = ("--image", disk, "--name", "disk")
    assert icebrick("-r", location, "--project-id", "0a", "backup", *image).code == 0
    counts = [len(list((tmp_path / project_id / "snapshots").iterdir())) for project_id in ("0a", "0b")]
    assert counts == [1, 0]
    assert not (tmp_path / "{project_id}").exists()


def test_removing_old_volumes_needs_a_yes_where_nobody_can_be_asked(icebrick: Icebrick, tmp_path: Path) -> None:
    asked = icebrick("restore", "--single-volume-id", "v", "--remove-old-vol")
    assert (asked.code, "deletes each volume that is replaced" in asked.err) == (2, True)
    assert "Confirm it with --yes" in asked.err
    document = job(tmp_path, action="restore", single_volume_id="v", remove_old_vol=True)
    assert icebrick("run", document).err == asked.err


@pytest.mark.parametrize(("answer", "refused"), [("n\n", True), ("\n", True), ("y\n", False)])
def test_somebody_at_a_terminal_is_asked_before_old_volumes_are_removed(
    icebrick: Icebrick, monkeypatch: pytest.MonkeyPatch, answer: str, refused: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    ran = icebrick("restore", "--single-volume-id", "v", "--remove-old-vol")
    assert "Go on? [y/N]" in ran.err
    assert ("nothing was done, as it was not confirmed" in ran.err) == refused


@pytest.mark.parametrize("arguments", [["restore", "--single-volume-id", "v", "--remove-old-vol", "--yes"], ["run"]])
def test_nobody_is_asked_who_has_said_yes(icebrick: Icebrick, tmp_path: Path, arguments: list[str | Path]) -> None:
    if arguments == ["run"]:
        arguments.append(job(tmp_path, action="restore", single_volume_id="v", remove_old_vol=True, yes=True))
    assert "deletes each volume" not in icebrick(*arguments).err
