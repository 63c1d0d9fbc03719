"""Which volumes a scope means: those, and never a temporary one; what is left out is told."""

from __future__ import annotations

import pytest

from icebrick.cloud.base import GroupSpec, Volume, VolumeSpec
from icebrick.errors import AccessForbiddenError, UsageError
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakerecords import ALPHA, BETA
from icebrick.workflow.scope import STATES_WITHOUT_CONTENT, Filter, Scope, ScopeKind, find_volumes, parse_filter

PROJECT = Scope(ScopeKind.PROJECT)


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


def make(cloud: FakeCloud, name: str = "data", **metadata: str) -> Volume:
    return cloud.create_volume(VolumeSpec(name, 1, metadata=metadata))


def make_group(cloud: FakeCloud, members: int) -> tuple[str, list[Volume]]:
    group = cloud.create_group(GroupSpec("group", "consistent", ("__DEFAULT__",)))
    spec = VolumeSpec("member", 1, volume_type="__DEFAULT__", group_id=group.id)
    return group.id, sorted((cloud.create_volume(spec) for _ in range(members)), key=lambda volume: volume.id)


def test_named_volumes_are_meant_once_each(cloud: FakeCloud) -> None:
    first, second = make(cloud), make(cloud)
    make(cloud)
    found = find_volumes(cloud, Scope(ScopeKind.VOLUMES, (second.id, first.id, second.id)))
    assert found.volumes == (second, first)


def test_a_named_volume_that_is_missing_is_a_failure(cloud: FakeCloud) -> None:
    good = make(cloud)
    found = find_volumes(cloud, Scope(ScopeKind.VOLUMES, ("absent", good.id)))
    assert found.volumes == (good,)
    assert [failure.subject for failure in found.failures] == ["volume absent"]


def test_a_project_is_all_its_volumes_and_no_others(cloud: FakeCloud) -> None:
    own = [make(cloud), make(cloud)]
    make(FakeCloud(cloud.records, BETA))
    assert list(find_volumes(cloud, PROJECT).volumes) == own


def test_all_projects_are_an_administrators(cloud: FakeCloud) -> None:
    both = [make(cloud), make(FakeCloud(cloud.records, BETA))]
    everything = Scope(ScopeKind.ALL_PROJECTS)
    assert list(find_volumes(FakeCloud(cloud.records, ALPHA, admin=True), everything).volumes) == both
    with pytest.raises(AccessForbiddenError):
        find_volumes(cloud, everything)


def test_temporary_volumes_of_runs_are_never_meant(cloud: FakeCloud) -> None:
    own, temporary = make(cloud), make(cloud, **{"icebrick-run": "r", "icebrick-host": "h"})
    found = find_volumes(cloud, PROJECT)
    assert found.volumes == (own,)
    assert [(each.volume_id, each.reason) for each in found.skipped] == [(temporary.id, "is a temporary one of run r")]
    found = find_volumes(cloud, Scope(ScopeKind.VOLUMES, (temporary.id,)))
    assert found.volumes == ()
    assert [failure.volume_id for failure in found.failures] == [temporary.id]


def test_a_volume_that_was_detached_for_a_cold_backup_is_meant(cloud: FakeCloud) -> None:
    assert find_volumes(cloud, PROJECT).volumes == ()
    volume = make(cloud, **{"icebrick-cold-run": "r"})
    assert find_volumes(cloud, PROJECT).volumes == (volume,)


@pytest.mark.parametrize("status", sorted(STATES_WITHOUT_CONTENT))
def test_a_volume_without_content_is_skipped_unless_it_is_named(cloud: FakeCloud, status: str) -> None:
    volume = make(cloud)
    cloud.set_status(volume.id, status)
    found = find_volumes(cloud, PROJECT)
    assert (found.volumes, found.failures) == ((), ())
    assert [each.reason for each in found.skipped] == [f"has no content: its status is {status}"]
    found = find_volumes(cloud, Scope(ScopeKind.VOLUMES, (volume.id,)))
    assert [failure.message for failure in found.failures] == [
        f"volume {volume.id} has no content: its status is {status}"
    ]


@pytest.mark.parametrize("status", ["in-use", "awaiting-transfer", "maintenance", "error_extending", "detaching"])
def test_whether_any_other_state_hinders_is_left_to_cinder(cloud: FakeCloud, status: str) -> None:
    volume = make(cloud)
    cloud.set_status(volume.id, status)
    assert [each.id for each in find_volumes(cloud, PROJECT).volumes] == [volume.id]


def test_exclusions_leave_out_and_unknown_ones_are_warned_of(cloud: FakeCloud) -> None:
    kept, excluded = make(cloud), make(cloud)
    found = find_volumes(cloud, Scope(ScopeKind.PROJECT, excluded=(excluded.id, "absent")))
    assert found.volumes == (kept,)
    assert found.warnings == ("volume absent is to be excluded, and is not there",)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["name=db-*"], ["db-1", "db-2"]),
        (["name=DB-*"], []),
        (["name=db-?", "name=web"], ["db-1", "db-2", "web"]),
        (["name=db-*", "metadata.backup=yes"], ["db-1"]),
        (["metadata.backup=*"], ["db-1", "web"]),
        (["metadata.backup="], []),
        (["metadata.absent=*"], []),
        (["status=available", "name=[!d]*"], ["web"]),
        (["type=*"], ["db-1", "db-2", "web"]),
        (["type=ssd"], []),
    ],
)
def test_filters_narrow(cloud: FakeCloud, filters: list[str], names: list[str]) -> None:
    make(cloud, "db-1", backup="yes")
    make(cloud, "db-2")
    make(cloud, "web", backup="no")
    scope = Scope(ScopeKind.PROJECT, filters=tuple(map(parse_filter, filters)))
    assert [volume.name for volume in find_volumes(cloud, scope).volumes] == names


def test_a_wide_scope_without_any_volume_is_warned_of(cloud: FakeCloud) -> None:
    assert find_volumes(cloud, PROJECT).warnings == ("there is no volume in the project",)
    make(cloud, "web")
    scope = Scope(ScopeKind.PROJECT, filters=(parse_filter("name=db-*"),))
    assert find_volumes(cloud, scope).warnings == ("filter and exclude leave no volume in the project",)
    admin = FakeCloud(admin=True)
    assert find_volumes(admin, Scope(ScopeKind.ALL_PROJECTS)).warnings == ("there is no volume in any project",)


@pytest.mark.parametrize("text", ["", "name", "colour=red", "metadata.=x", "metadata=x", "Name=x", "=x"])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a filter"):
        parse_filter(text)


def test_a_filter_is_shown_as_it_was_written() -> None:
    assert str(parse_filter("metadata.a=b=c")) == "metadata.a=b=c"
    assert parse_filter("metadata.a=b=c") == Filter("metadata.a", "b=c")


def test_groups_are_their_members(cloud: FakeCloud) -> None:
    first, members = make_group(cloud, 2)
    second, others = make_group(cloud, 1)
    make(cloud)
    found = find_volumes(cloud, Scope(ScopeKind.GROUPS, (first, second)))
    assert list(found.volumes) == members + others
    assert [(each.group.id, list(each.members), each.whole) for each in found.groups] == [
        (first, members, True),
        (second, others, True),
    ]


def test_a_group_that_is_missing_or_empty_is_a_failure_of_its_own(cloud: FakeCloud) -> None:
    good, members = make_group(cloud, 1)
    empty, _ = make_group(cloud, 0)
    found = find_volumes(cloud, Scope(ScopeKind.GROUPS, ("absent", empty, good)))
    assert [failure.subject for failure in found.failures] == ["group absent", f"group {empty}"]
    assert list(found.volumes) == members


def test_a_group_of_which_a_member_is_left_out_is_not_whole(cloud: FakeCloud) -> None:
    group, (first, second) = make_group(cloud, 2)
    found = find_volumes(cloud, Scope(ScopeKind.GROUPS, (group,), excluded=(first.id,)))
    assert (found.volumes, found.groups[0].whole) == ((second,), False)
    assert found.warnings == (f"group {group}: 1 of 2 volumes are backed up, and so no restore point of the group",)


def test_an_administrator_is_warned_of_groups_that_are_not_of_one_instant() -> None:
    admin = FakeCloud(admin=True)
    weak = admin.create_group(GroupSpec("weak", "independent", ("__DEFAULT__",)))
    strong = admin.create_group(GroupSpec("strong", "consistent", ("__DEFAULT__",)))
    for group in (weak, strong):
        admin.create_volume(VolumeSpec("member", 1, volume_type="__DEFAULT__", group_id=group.id))
    (warning,) = find_volumes(admin, Scope(ScopeKind.GROUPS, (weak.id, strong.id))).warnings
    assert warning.startswith(f"group {weak.id}: its type independent does not promise")


def test_a_member_without_content_is_a_failure_and_its_group_not_whole(cloud: FakeCloud) -> None:
    group, (first, second) = make_group(cloud, 2)
    cloud.set_status(first.id, "error")
    found = find_volumes(cloud, Scope(ScopeKind.GROUPS, (group,)))
    assert (found.volumes, found.groups[0].whole) == ((second,), False)
    assert [(failure.volume_id, failure.group_id) for failure in found.failures] == [(first.id, group)]


@pytest.mark.parametrize(
    ("kind", "ids"), [(ScopeKind.VOLUMES, ()), (ScopeKind.GROUPS, ()), (ScopeKind.PROJECT, ("v",))]
)
def test_a_scope_with_the_wrong_ids_cannot_be_made(kind: ScopeKind, ids: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=kind.value):
        Scope(kind, ids)
