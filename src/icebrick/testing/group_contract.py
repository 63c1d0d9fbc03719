"""What every Cloud must do with groups and group snapshots."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from icebrick.attach.base import Connector
from icebrick.cloud.base import Cloud, Group, GroupSpec, Mode, Volume, VolumeSpec
from icebrick.errors import AccessForbiddenError, CloudError, ResourceMissingError, UnexpectedStateError
from icebrick.run import find_mark
from icebrick.testing.cloud_suite import MISSING, RUN, attached_to, read_back, wipe, write_to

TYPE = "__DEFAULT__"
"""The volume type that every Cinder has."""


class GroupContract:
    """Inherit, and give the fixtures of `cloud_suite`; group types `consistent` and `independent` must exist."""

    @pytest.fixture(autouse=True)
    def _empty(self, admin: Cloud) -> Iterator[None]:
        yield
        wipe(admin)

    def test_a_created_group_is_available_and_as_specified(self, cloud: Cloud) -> None:
        made = cloud.create_group(GroupSpec("pair", "consistent", (TYPE,), description="of a database"))
        assert (made.name, made.status, made.description) == ("pair", "available", "of a database")
        assert (made.group_type, made.volume_types, made.volume_ids) == ("consistent", (TYPE,), ())
        assert made.project_id == cloud.project().id
        assert cloud.get_group(made.id) == cloud.find_group(made.id) == made
        assert list(cloud.groups()) == [made]

    def test_a_missing_group_is_not_found(self, cloud: Cloud) -> None:
        assert cloud.find_group(MISSING) is None
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.get_group(MISSING)

    @pytest.mark.parametrize(("group_type", "volume_type"), [("no such type", TYPE), ("consistent", "no such type")])
    def test_a_group_of_a_type_that_does_not_exist_is_not_made(
        self, cloud: Cloud, group_type: str, volume_type: str
    ) -> None:
        with pytest.raises(ResourceMissingError, match="no such type"):
            cloud.create_group(GroupSpec("pair", group_type, (volume_type,)))
        assert list(cloud.groups()) == []

    def test_name_and_description_can_be_changed_and_are_then_left(self, cloud: Cloud) -> None:
        group = _group(cloud)
        for _ in range(2):
            changed = cloud.update_group(group.id, name="after", description=f"{RUN.mark} text")
            assert (changed.name, find_mark(changed.description)) == ("after", (RUN, "text"))
        assert cloud.update_group(group.id, name="after", description="").description == ""

    def test_volumes_join_and_leave_and_both_may_be_said_again(self, cloud: Cloud) -> None:
        group = _group(cloud)
        joined, born = _member(cloud, group), cloud.create_volume(_spec(group_id=group.id))
        cloud.add_to_group(group.id, joined.id)
        assert cloud.get_group(group.id).volume_ids == tuple(sorted((joined.id, born.id)))
        assert [cloud.get_volume(each.id).group_id for each in (joined, born)] == [group.id] * 2
        for _ in range(2):
            cloud.remove_from_group(born.id)
        assert cloud.get_group(group.id).volume_ids == (joined.id,)
        assert cloud.get_volume(born.id).group_id is None

    def test_a_volume_is_in_one_group_only(self, cloud: Cloud) -> None:
        member = _member(cloud, _group(cloud))
        other = _group(cloud)
        with pytest.raises(UnexpectedStateError, match=member.id):
            cloud.add_to_group(other.id, member.id)
        assert cloud.get_group(other.id).volume_ids == ()

    def test_what_does_not_exist_joins_nothing(self, cloud: Cloud) -> None:
        group = _group(cloud)
        with pytest.raises(UnexpectedStateError, match=MISSING):
            cloud.add_to_group(group.id, MISSING)
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.add_to_group(MISSING, MISSING)
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.remove_from_group(MISSING)

    def test_a_volume_born_into_a_group_must_have_a_type_of_the_group(self, cloud: Cloud) -> None:
        group = _group(cloud)
        with pytest.raises(CloudError):
            cloud.create_volume(VolumeSpec("disk", 1, group_id=group.id))
        assert list(cloud.volumes()) == []

    def test_neither_a_member_nor_its_group_is_deleted_before_they_part(self, cloud: Cloud) -> None:
        group = _group(cloud)
        member = _member(cloud, group)
        with pytest.raises(UnexpectedStateError, match=group.id):
            cloud.delete_group(group.id)
        with pytest.raises(UnexpectedStateError, match=member.id):
            cloud.delete_volume(member.id)
        cloud.remove_from_group(member.id)
        for _ in range(2):
            cloud.delete_group(group.id)
        assert cloud.find_group(group.id) is None
        assert cloud.find_volume(member.id) is not None

    # Group snapshots

    def test_a_group_snapshot_has_every_member_attached_or_not(self, cloud: Cloud, connector: Connector) -> None:
        group = _group(cloud)
        members = sorted([_member(cloud, group).id, _member(cloud, group).id])
        with attached_to(cloud, connector, cloud.get_volume(members[0]), Mode.WRITE):
            taken = cloud.create_group_snapshot(group.id, name="frozen", description=RUN.mark)
        assert (taken.name, taken.status, taken.group_id) == ("frozen", "available", group.id)
        assert (find_mark(taken.description), taken.project_id) == ((RUN, ""), cloud.project().id)
        assert [snapshot.volume_id for snapshot in taken.snapshots] == members
        assert {(s.status, s.group_snapshot_id) for s in taken.snapshots} == {("available", taken.id)}
        assert list(cloud.group_snapshots()) == [taken]
        assert {snapshot.id for snapshot in cloud.snapshots()} == {snapshot.id for snapshot in taken.snapshots}

    def test_a_clone_of_one_of_its_snapshots_is_a_volume_of_that_moment_in_no_group(
        self, cloud: Cloud, connector: Connector
    ) -> None:
        group = _group(cloud)
        member = _member(cloud, group)
        write_to(cloud, connector, member, 4096, b"before")
        (snapshot,) = cloud.create_group_snapshot(group.id, name="frozen", description="").snapshots
        write_to(cloud, connector, member, 4096, b"after!")
        clone = cloud.create_clone(snapshot, name="copy", metadata=RUN.tags)
        assert (clone.group_id, dict(clone.metadata)) == (None, RUN.tags)
        assert read_back(cloud, connector, clone, 4096, 6) == b"before"

    def test_a_group_snapshot_goes_with_its_snapshots_and_not_by_one_of_them(self, cloud: Cloud) -> None:
        group = _group(cloud)
        _member(cloud, group)
        taken = cloud.create_group_snapshot(group.id, name="frozen", description="")
        with pytest.raises(UnexpectedStateError, match=taken.snapshots[0].id):
            cloud.delete_snapshot(taken.snapshots[0].id)
        for _ in range(2):
            cloud.delete_group_snapshot(taken.id)
        assert (list(cloud.group_snapshots()), list(cloud.snapshots())) == ([], [])

    def test_a_group_that_has_a_group_snapshot_is_not_deleted(self, cloud: Cloud) -> None:
        group = _group(cloud)
        member = _member(cloud, group)
        taken = cloud.create_group_snapshot(group.id, name="frozen", description="")
        cloud.remove_from_group(member.id)
        with pytest.raises(UnexpectedStateError, match=group.id):
            cloud.delete_group(group.id)
        cloud.delete_group_snapshot(taken.id)
        cloud.delete_group(group.id)  # at once: the group snapshot is gone for good

    def test_a_group_snapshot_of_nothing_is_not_made(self, cloud: Cloud) -> None:
        with pytest.raises(UnexpectedStateError, match="empty"):
            cloud.create_group_snapshot(_group(cloud).id, name="frozen", description="")
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.create_group_snapshot(MISSING, name="frozen", description="")
        assert list(cloud.group_snapshots()) == []

    # Other projects

    def test_other_projects_groups_do_not_exist(self, cloud: Cloud, stranger: Cloud) -> None:
        group = _group(cloud)
        _member(cloud, group)
        taken = cloud.create_group_snapshot(group.id, name="frozen", description="")
        assert (list(stranger.groups()), list(stranger.group_snapshots())) == ([], [])
        assert stranger.find_group(group.id) is None
        with pytest.raises(ResourceMissingError):
            stranger.create_group_snapshot(group.id, name="theft", description="")
        stranger.delete_group_snapshot(taken.id)
        stranger.delete_group(group.id)
        assert list(cloud.group_snapshots()) == [taken]

    def test_a_volume_of_another_project_cannot_join(self, cloud: Cloud, stranger: Cloud, admin: Cloud) -> None:
        group = _group(cloud)
        foreign = stranger.create_volume(_spec())
        with pytest.raises(UnexpectedStateError, match=foreign.id):
            admin.add_to_group(group.id, foreign.id)

    def test_only_an_administrator_is_told_which_groups_are_consistent(self, cloud: Cloud, admin: Cloud) -> None:
        made = {name: cloud.create_group(GroupSpec(name, name, (TYPE,))) for name in ("consistent", "independent")}
        assert [group.consistent for group in made.values()] == [None, None]
        assert {name: admin.get_group(group.id).consistent for name, group in made.items()} == {
            "consistent": True,
            "independent": False,
        }

    def test_an_administrator_sees_all_groups_and_a_member_is_refused(
        self, cloud: Cloud, stranger: Cloud, admin: Cloud
    ) -> None:
        made = {each: _group(each).id for each in (cloud, stranger)}
        assert {(group.id, group.project_id) for group in admin.all_groups()} == {
            (group_id, each.project().id) for each, group_id in made.items()
        }
        assert list(admin.groups()) == []
        for refused in (cloud.all_groups, cloud.all_group_snapshots):
            with pytest.raises(AccessForbiddenError):
                refused()

    def test_an_administrators_group_snapshot_is_the_administrators(self, cloud: Cloud, admin: Cloud) -> None:
        group = _group(cloud)
        member = _member(cloud, group)
        taken = admin.create_group_snapshot(group.id, name="frozen", description=RUN.mark)
        assert {taken.project_id, taken.snapshots[0].project_id} == {admin.project().id}
        assert taken.snapshots[0].volume_id == member.id
        assert list(admin.group_snapshots()) == list(admin.all_group_snapshots()) == [taken]
        assert (list(cloud.group_snapshots()), list(cloud.snapshots())) == ([], [])
        admin.delete_group_snapshot(taken.id)
        assert list(admin.all_snapshots()) == []


def _spec(group_id: str | None = None) -> VolumeSpec:
    return VolumeSpec("disk", 1, volume_type=TYPE, group_id=group_id)


def _group(cloud: Cloud) -> Group:
    return cloud.create_group(GroupSpec("group", "consistent", (TYPE,)))


def _member(cloud: Cloud, group: Group) -> Volume:
    volume = cloud.create_volume(_spec())
    cloud.add_to_group(group.id, volume.id)
    return volume
