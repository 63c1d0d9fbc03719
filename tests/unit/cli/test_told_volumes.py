"""How a restore of volumes is told: in lines, in a table, as JSON, and by what ends the command."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from icebrick.cli.output import Output
from icebrick.cli.told_volumes import tell_volumes
from icebrick.errors import IcebrickError, IncompleteError, Interrupted
from icebrick.secret import Secret
from icebrick.workflow.report import Receipt
from icebrick.workflow.restoring.outcome import (
    Filled,
    GroupRestore,
    NotRestored,
    Offer,
    RestoreFailure,
    VolumeRestore,
    VolumesReport,
    Way,
)

START = datetime(2026, 11, 23, tzinfo=UTC)
DONE = VolumeRestore(
    source_id="v1",
    snapshot_id="4f0b9f6e" * 8,
    volume_id="n1",
    project_id="p1",
    way=Way.COPY,
    reason="the volume exists",
    filled=Filled(1 << 30, 3 << 20, 0, 2 << 20),
    started=START,
    ended=START + timedelta(seconds=12.34),
)
RECEIPT = Receipt("4f0b9f6e", START, "n1", 1 << 30, 1024, 1019, 0, (), "d1", START, START)
FAILURE = RestoreFailure("v2", None, "no device appeared", "Look at it.", safety_snapshot_ids=("s2",))
OFFER = Offer("t1", Secret("geheim"), "nobody accepts it")


@pytest.fixture
def output() -> Output:
    return Output(as_json=False, quiet=False)


def test_one_volume_is_told_with_the_way_and_why_and_all_that_is_left(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    restored = replace(
        DONE,
        receipt=RECEIPT,
        safety_snapshot_ids=("s1",),
        removed_volume_id="v1",
        not_restored=(NotRestored("group_id", "g1", "gone"), NotRestored("size", 1, "more")),
        offer=OFFER,
    )
    tell_volumes(output, VolumesReport("run", (restored,)))
    assert capsys.readouterr().out.splitlines() == [
        "restored snapshot 4f0b9f6e to volume n1, onto a copy because the volume exists: 1.0 GiB, written 3.0 MiB, "
        "already right 2.0 MiB",
        "verified: 1024 blocks, 1019 of them zeros, no differences, digest d1",
        "what it held before is kept in volume snapshot s1",
        "removed the replaced volume v1",
        "not restored: group_id, size",
        "volume n1 waits for somebody in project p1 to run: openstack volume transfer request accept --auth-key geheim "
        "t1",
    ]


def test_several_are_a_table_and_some_that_failed_end_the_command_with_3(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(IncompleteError, match="1 of 2 volumes were not restored"):
        tell_volumes(output, VolumesReport("run", (replace(DONE, offer=OFFER),), (FAILURE,)))
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "volume  result  restored to  written  already right  time    remarks",
        "v1      copy    n1           3.0 MiB  2.0 MiB        12.3 s  the volume exists",
        "v2      failed                                               no device appeared; what it held before is kept "
        "in volume snapshot s2",
        "volume n1 waits for somebody in project p1 to run: openstack volume transfer request accept --auth-key geheim "
        "t1",
    ]
    assert "volume v2 was not restored: no device appeared; what it held before" in told.err


def test_what_became_of_groups_is_told_below_the_table(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    groups = (
        GroupRestore("g1", "gs1", members=2, restored=True, new_group_id="n9"),
        GroupRestore("g2", "gs2", members=1, restored=True, new_group_id=None),
        GroupRestore("g3\nforged", "gs3", members=1, restored=False, new_group_id=None),
    )
    with pytest.raises(IncompleteError):
        tell_volumes(output, VolumesReport("run", (DONE,) * 3, (FAILURE,), groups=groups))
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "group g1: all 2 volumes restored as of one moment, in the new group n9",
        "group g2: all 1 volume restored as of one moment",
        "group g3\\nforged: not restored, and nothing of it stays",
    ]


def test_a_project_whose_repository_cannot_be_read_is_a_failure(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = RestoreFailure(None, None, "wrong password", "Look at it.", project_id="p2")
    with pytest.raises(IncompleteError):
        tell_volumes(output, VolumesReport("run", (DONE,), (failure,)))
    told = capsys.readouterr()
    assert told.out.splitlines()[2].split()[:3] == ["project", "p2", "failed"]
    assert "project p2 was not restored: wrong password" in told.err


@pytest.mark.parametrize("code", [1, 2, 3, 130])
def test_a_lone_failure_ends_the_command_as_its_error_would(
    output: Output, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    with pytest.raises(IcebrickError, match="no device appeared; what it held before") as caught:
        tell_volumes(output, VolumesReport("run", (), (replace(FAILURE, exit_code=code),)))
    assert (caught.value.exit_code, caught.value.hint) == (code, "Look at it.")
    assert capsys.readouterr().out == ""


def test_the_receipt_of_a_lone_volume_that_differs_is_a_record_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    failure = replace(FAILURE, receipt=replace(RECEIPT, mismatches=2))
    with pytest.raises(IcebrickError):
        tell_volumes(Output(as_json=True, quiet=False), VolumesReport("run", (), (failure,)))
    summary, receipt = map(json.loads, capsys.readouterr().out.splitlines())
    assert (summary["message_type"], summary["failures"][0]["safety_snapshot_ids"]) == ("summary", ["s2"])
    assert (receipt["message_type"], receipt["mismatches"]) == ("receipt", 2)


def test_json_has_everything_the_key_of_an_offer_too(capsys: pytest.CaptureFixture[str]) -> None:
    restored = replace(DONE, offer=OFFER, not_restored=(NotRestored("group_id", "g1", "gone"),))
    tell_volumes(Output(as_json=True, quiet=False), VolumesReport("run", (restored,)))
    (told,) = json.loads(capsys.readouterr().out)["restores"]
    assert (told["way"], told["filled"]["bytes_written"]) == ("copy", 3 << 20)
    assert told["offer"] == {"transfer_id": "t1", "key": "geheim", "reason": "nobody accepts it"}
    assert told["not_restored"] == [{"attribute": "group_id", "was": "g1", "reason": "gone"}]


def test_a_replaced_volume_that_stays_is_no_success(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(IncompleteError, match="1 replaced volume could not be removed"):
        tell_volumes(output, VolumesReport("run", (replace(DONE, not_removed="it is in-use"),)))
    assert "volume v1 was replaced and not removed: it is in-use" in capsys.readouterr().err


def test_an_interrupted_run_tells_what_it_has_done_and_what_it_has_not_begun(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Interrupted, match="interrupted when 1 of 2 volumes were restored"):
        tell_volumes(output, VolumesReport("run", (DONE,), interrupted=True, not_begun=("v3",)))
    assert capsys.readouterr().out.splitlines()[-1] == "v3      not begun"
