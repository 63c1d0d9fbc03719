"""How a run of several volumes is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from icebrick.cli.backup import tell
from icebrick.cli.output import Output
from icebrick.engine.file.base import Problem
from icebrick.errors import IcebrickError, IncompleteError, Interrupted
from icebrick.workflow.naming import BackupMode
from icebrick.workflow.report import BackupReport, Failure, GroupBackup, SavedSnapshot

START = datetime(2026, 11, 23, tzinfo=UTC)
NAMES = {"v1": "disk", "v2": "evil\nname", "v3": "late"}


def done(volume_id: str) -> SavedSnapshot:
    return SavedSnapshot(
        path=f"/cinder/{volume_id}",
        snapshot_id="4f0b9f6e" * 8,
        parent_id=None,
        mode=BackupMode.BLOCKS,
        size=1 << 30,
        bytes_read=3 << 20,
        bytes_new=2 << 20,
        bytes_packed=1 << 20,
        digest="",
        started=START,
        ended=START + timedelta(seconds=12.34),
    )


FAILURE = Failure("v2", "no device appeared", None)


def report(*, interrupted: bool = False, not_begun: tuple[str, ...] = ()) -> BackupReport:
    return BackupReport("run", (done("v1"),), (FAILURE,), interrupted=interrupted, not_begun=not_begun)


@pytest.fixture
def output() -> Output:
    return Output(as_json=False, quiet=False)


def test_several_volumes_are_a_table_with_a_line_for_each(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(IncompleteError, match="1 of 2 volumes were not backed up"):
        tell(output, report(), NAMES)
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "volume  name        result  snapshot  mode    read     new      stored   time    reason",
        "v1      disk        done    4f0b9f6e  blocks  3.0 MiB  2.0 MiB  1.0 MiB  12.3 s",
        "v2      evil\\nname  failed                                                       no device appeared",
    ]
    assert "volume v2 was not backed up: no device appeared" in told.err


def test_one_volume_is_a_line(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    tell(output, BackupReport("run", (done("v1"),)), NAMES)
    assert capsys.readouterr().out == (
        "snapshot 4f0b9f6e of /cinder/v1: 1.0 GiB in blocks, read 3.0 MiB, new 2.0 MiB, stored 1.0 MiB, in 12.3 s\n"
    )


def test_files_that_could_not_be_read_are_told_and_the_command_was_done_in_part(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = tuple(Problem(f"/etc/{number}\n", "could not be read") for number in range(11))
    partly = replace(done("v1"), mode=BackupMode.FILES, problems=problems, problem_count=12)
    with pytest.raises(IncompleteError, match="12 files could not be read"):
        tell(output, BackupReport("run", (partly, done("v2"))), NAMES)
    told = capsys.readouterr()
    line = told.out.splitlines()[1]
    assert "  in part  " in line
    assert line.endswith("12 files not or not fully read")
    assert "/cinder/v1: /etc/9\\n: could not be read" in told.err
    assert "/cinder/v1: 2 more" in told.err


def test_why_a_volume_was_not_read_file_by_file_is_told(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    tell(output, BackupReport("run", (replace(done("v1"), mode_reason="the volume holds a partition table"),)), NAMES)
    assert capsys.readouterr().out.endswith("; not file by file: the volume holds a partition table\n")


def test_an_interrupted_run_tells_what_was_done_and_what_was_not_begun(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Interrupted, match="interrupted when 1 of 3 volumes were backed up"):
        tell(output, report(interrupted=True, not_begun=("v3",)), NAMES)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["v3", "late", "not", "begun"]


def test_an_interrupted_backup_of_one_volume_has_nothing_to_tell(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Interrupted, match=r"^interrupted$"):
        tell(output, BackupReport("run", (), (Failure("v1", "interrupted", None),), interrupted=True), NAMES)
    assert capsys.readouterr().out == ""


def test_a_lone_failure_is_the_commands_own(output: Output) -> None:
    with pytest.raises(IcebrickError, match=r"^no device appeared$"):
        tell(output, BackupReport("run", (), (FAILURE,)), NAMES)


@pytest.mark.parametrize(
    ("consistent", "text"),
    [
        (True, "restore point of 1 volume, consistent"),
        (False, "restore point of 1 volume, not of one instant, which its type does not promise"),
        (None, "restore point of 1 volume, whether of one instant, an administrator can tell"),
    ],
)
def test_of_a_group_it_is_told_whether_its_volumes_are_of_one_instant(
    output: Output, capsys: pytest.CaptureFixture[str], consistent: bool | None, text: str
) -> None:
    group = GroupBackup("g1", "evil\nname", "gs1", 1, 1, complete=True, consistent=consistent)
    tell(output, BackupReport("run", (done("v1"),), groups=(group,)), NAMES)
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == f"group g1 evil\\nname: {text}"
    assert told.err == ""


def test_a_group_without_a_restore_point_is_warned_of(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    group = GroupBackup("g1", "db", "gs1", 2, 1, complete=False, consistent=True)
    with pytest.raises(IncompleteError):
        tell(output, replace(report(), groups=(group,)), NAMES)
    told = capsys.readouterr()
    line = "group g1 db: no restore point, 1 of 2 volumes"
    assert told.out.splitlines()[-1] == line
    assert f"warning: {line}: it cannot be restored as a group, only volume by volume" in told.err
