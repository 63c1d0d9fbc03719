"""Which snapshots a restore of a scope takes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from icebrick.cloud.base import Volume
from icebrick.errors import CorruptDataError, UsageError
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import from_datetime
from icebrick.workflow.naming import checked_tag, group_tags, name_volume
from icebrick.workflow.points import FoundSnapshots, find_restorable, group_points, restore_points
from icebrick.workflow.scope import Scope, ScopeKind, parse_filter
from icebrick.workflow.select import Selection

LATEST = Selection()
PROJECT = Scope(ScopeKind.PROJECT)


def moment(day: int) -> datetime:
    return datetime(2026, 11, day, tzinfo=UTC)


def snapshot(volume_id: str, day: int, *, project: str = "a1", tags: tuple[str, ...] = ()) -> Snapshot:
    naming = name_volume(volume_id, project, run_id="r")
    return Snapshot(
        time=from_datetime(moment(day)),
        tree=bytes(32),
        paths=(naming.path,),
        hostname=naming.hostname,
        tags=naming.tags + tags,
        id=f"{volume_id}-{day}",
    )


def group_snapshots(group: str, day: int, volumes: str, members: int) -> list[Snapshot]:
    """Of a group snapshot that is named after its day."""
    return [snapshot(volume, day, tags=group_tags(group, f"gs{day}", members)) for volume in volumes]


def volume_of(snapshot: Snapshot) -> Volume:
    volume_id = snapshot.paths[0].removeprefix("/cinder/")
    if volume_id == "damaged":
        raise CorruptDataError("the record is damaged")
    return Volume(volume_id, f"name-of-{volume_id}", "available", 1)


def find(
    snapshots: list[Snapshot], scope: Scope, selection: Selection = LATEST, project_id: str | None = "a1"
) -> FoundSnapshots:
    return find_restorable(snapshots, scope, selection, project_id=project_id, volume_of=volume_of)


def ids(found: FoundSnapshots) -> list[str | None]:
    return [each.id for each in found.snapshots]


def test_of_each_named_volume_one_is_chosen_and_one_without_any_is_a_failure() -> None:
    snapshots = [snapshot("v", 1), snapshot("v", 2), snapshot("w", 1), snapshot("x", 1)]
    found = find(snapshots, Scope(ScopeKind.VOLUMES, ("w", "v", "absent", "w")))
    assert ids(found) == ["w-1", "v-2"]
    assert [failure.volume_id for failure in found.failures] == ["absent"]


def test_a_projects_volumes_are_those_that_were_its_own_when_they_were_backed_up() -> None:
    snapshots = [snapshot("v", 1), snapshot("v", 2, project="b2"), snapshot("w", 1, project="b2")]
    assert ids(find(snapshots, PROJECT)) == ["v-1"]
    assert ids(find(snapshots, PROJECT, project_id="b2")) == ["v-2", "w-1"]


def test_all_projects_are_all_volumes_and_no_images() -> None:
    image = Snapshot(from_datetime(moment(1)), bytes(32), ("/image/disk",), "host", id="image")
    several = Snapshot(from_datetime(moment(1)), bytes(32), ("/cinder/v", "/etc"), "host", id="several")
    snapshots = [image, several, snapshot("v", 1), snapshot("w", 1, project="b2")]
    assert ids(find(snapshots, Scope(ScopeKind.ALL_PROJECTS), project_id=None)) == ["v-1", "w-1"]


def test_a_project_must_be_known() -> None:
    with pytest.raises(UsageError, match="no project is known"):
        find([snapshot("v", 1)], PROJECT, project_id=None)


def test_a_volume_that_was_not_there_so_early_is_skipped() -> None:
    snapshots = [snapshot("v", 1), snapshot("v", 3), snapshot("w", 3)]
    found = find(snapshots, PROJECT, Selection(not_after=moment(2)))
    assert (ids(found), found.failures) == (["v-1"], ())
    assert [each.volume_id for each in found.skipped] == ["w"]


def test_exclusions_and_filters_narrow_and_a_damaged_record_is_a_failure() -> None:
    snapshots = [snapshot("v", 1), snapshot("w", 1), snapshot("damaged", 1)]
    scope = Scope(ScopeKind.PROJECT, filters=(parse_filter("name=*-w"),), excluded=("x",))
    found = find(snapshots, scope)
    assert ids(found) == ["w-1"]
    assert [failure.volume_id for failure in found.failures] == ["damaged"]
    assert found.warnings == ("volume x is to be excluded, and is not there",)
    assert ids(find(snapshots, Scope(ScopeKind.PROJECT, excluded=("v",)))) == ["w-1", "damaged-1"]


def test_a_group_is_restored_from_its_newest_complete_restore_point() -> None:
    snapshots = [*group_snapshots("g", 1, "vw", 2), *group_snapshots("g", 2, "vw", 2), *group_snapshots("h", 3, "x", 1)]
    found = find(snapshots, Scope(ScopeKind.GROUPS, ("g",)))
    assert ids(found) == ["v-2", "w-2"]
    assert [(point.group_id, point.group_snapshot_id) for point in found.groups] == [("g", "gs2")]


@pytest.mark.parametrize(("volumes", "members"), [("v", 2), ("vw", 3), ("vwx", 2)])
def test_a_restore_point_without_a_member_or_with_one_too_many_is_not_offered(volumes: str, members: int) -> None:
    snapshots = [*group_snapshots("g", 1, "vw", 2), *group_snapshots("g", 2, volumes, members)]
    assert [point.group_snapshot_id for point in restore_points(snapshots, "g")] == ["gs1"]


def test_a_member_that_is_backed_up_singly_later_does_not_count() -> None:
    snapshots = [*group_snapshots("g", 1, "vw", 2), snapshot("v", 2)]
    assert ids(find(snapshots, Scope(ScopeKind.GROUPS, ("g",)))) == ["v-1", "w-1"]


def test_a_group_without_a_complete_restore_point_early_enough_is_a_failure() -> None:
    found = find(group_snapshots("g", 3, "vw", 2), Scope(ScopeKind.GROUPS, ("g", "h")), Selection(not_after=moment(2)))
    assert found.snapshots == ()
    assert [failure.subject for failure in found.failures] == ["group g", "group h"]
    assert found.failures[0].message == "no complete restore point of group g from 2026-11-02T00:00:00+00:00 or before"


def test_of_incomplete_restore_points_it_is_said_that_their_volumes_can_be_restored_singly() -> None:
    found = find(group_snapshots("g", 1, "v", 2), Scope(ScopeKind.GROUPS, ("g",)))
    (failure,) = found.failures
    assert "of 1 some members were not backed up" in failure.message
    assert "--single-volume-id" in (failure.hint or "")


@pytest.mark.parametrize("said", [("2", "3"), ("two", "two"), ("9" * 5000,) * 2, ("²", "²"), ("", "")])
def test_what_snapshots_say_of_their_group_may_be_anything_and_is_no_restore_point(said: tuple[str, str]) -> None:
    snapshots = [
        snapshot(volume, 1, tags=("group:g", "group-snapshot:gs", f"members:{number}"))
        for volume, number in zip("vw", said, strict=True)
    ]
    (point,) = group_points(snapshots)
    assert (point.size, point.is_complete) == (None, False)


@pytest.mark.parametrize("tag", ["project:b2", "group:g", "members:1", "volume:v", "a,b", "", "a\nb"])
def test_a_users_tag_cannot_pass_for_one_of_ours(tag: str) -> None:
    with pytest.raises(UsageError, match="tag"):
        checked_tag(tag)
