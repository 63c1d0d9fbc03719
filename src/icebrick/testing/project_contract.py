"""What every Cloud must do across projects: for administrators, for users with several roles, by transfer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from icebrick.attach.base import Connector
from icebrick.cloud.base import Cloud, GroupSpec, Mode, Transfer, VolumeSpec
from icebrick.errors import AccessForbiddenError, CloudError, ResourceMissingError, UnexpectedStateError
from icebrick.secret import Secret
from icebrick.testing.cloud_suite import MISSING, PLAIN, RUN, attached_to, new_snapshot, settings_of, wipe

Stick = Callable[[str, str], None]
"""Leaves a resource as a back end that died does: kind and id, as "volume" and "1f2e..."; its state is "creating"."""


class ProjectContract:
    """Inherit, and give the fixtures of `cloud_suite`, and `stick`."""

    @pytest.fixture(autouse=True)
    def _empty(self, admin: Cloud) -> Iterator[None]:
        yield
        wipe(admin)

    # Administrators

    def test_a_member_is_no_administrator(self, cloud: Cloud, admin: Cloud) -> None:
        assert (cloud.is_admin(), admin.is_admin()) == (False, True)

    def test_an_administrator_sees_all_projects_and_a_member_is_refused(
        self, cloud: Cloud, stranger: Cloud, admin: Cloud
    ) -> None:
        snapshots = [new_snapshot(each) for each in (cloud, stranger)]
        transfer = cloud.create_transfer(cloud.create_volume(VolumeSpec("given", 1)).id, name="gift")
        volume_ids = {snapshot.volume_id for snapshot in snapshots} | {transfer.volume_id}
        assert {volume.id for volume in admin.all_volumes()} == volume_ids
        assert {snapshot.id for snapshot in admin.all_snapshots()} == {snapshot.id for snapshot in snapshots}
        assert [each.id for each in admin.all_transfers()] == [transfer.id]
        assert (list(admin.volumes()), list(admin.snapshots()), list(admin.transfers())) == ([], [], [])
        for refused in (cloud.all_volumes, cloud.all_snapshots, cloud.all_transfers):
            with pytest.raises(AccessForbiddenError):
                refused()

    def test_an_administrator_is_told_of_all_projects_and_a_member_is_refused(
        self, cloud: Cloud, stranger: Cloud, admin: Cloud
    ) -> None:
        told = admin.all_projects()
        assert all(each.project() in told for each in (cloud, stranger, admin))
        with pytest.raises(AccessForbiddenError):
            cloud.all_projects()

    def test_an_administrator_changes_and_deletes_another_projects_volume(self, cloud: Cloud, admin: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("before", 1, metadata=RUN.tags))
        wanted = replace(PLAIN, image_metadata={"os_distro": "debian"}, bootable=True, read_only=True)
        admin.apply_settings(volume.id, wanted)
        admin.untag_volume(volume.id)
        assert settings_of(cloud.get_volume(volume.id)) == wanted
        assert admin.get_volume(volume.id).project_id == cloud.project().id
        admin.delete_volume(volume.id)
        assert cloud.find_volume(volume.id) is None

    def test_an_administrator_attaches_another_projects_volume(
        self, cloud: Cloud, admin: Cloud, connector: Connector
    ) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        with attached_to(admin, connector, volume, Mode.READ) as attachment:
            assert [each.id for each in admin.attachments(volume.id)] == [attachment.id]
            assert [each.id for each in cloud.attachments(volume.id)] == [attachment.id]
        assert list(admin.attachments(volume.id)) == []

    def test_what_an_administrator_makes_of_another_projects_volume_is_the_administrators(
        self, cloud: Cloud, admin: Cloud
    ) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        snapshot = admin.create_snapshot(volume.id, name="frozen", metadata=RUN.tags)
        clone = admin.create_clone(snapshot, name="copy", metadata=RUN.tags)
        assert {snapshot.project_id, clone.project_id} == {admin.project().id}
        assert (list(cloud.snapshots()), [each.id for each in cloud.volumes()]) == ([], [volume.id])
        with pytest.raises(UnexpectedStateError, match=volume.id):
            cloud.delete_volume(volume.id)

    # Stuck states

    @pytest.mark.parametrize("kind", ["volume", "volume snapshot", "group", "group snapshot"])
    def test_only_an_administrator_deletes_what_is_stuck(
        self, cloud: Cloud, admin: Cloud, stick: Stick, kind: str
    ) -> None:
        stuck = _make(cloud, kind)
        stick(kind, stuck)
        name = kind.removeprefix("volume ").replace(" ", "_")
        with pytest.raises(UnexpectedStateError, match=f"{kind} {stuck}.* creating"):
            getattr(cloud, f"delete_{name}")(stuck)
        force = f"force_delete_{name}"
        with pytest.raises(AccessForbiddenError, match=stuck):
            getattr(cloud, force)(stuck)
        for each in (stuck, stuck, MISSING):
            getattr(admin, force)(each)
        listings: dict[str, Callable[[], Sequence[Any]]] = {
            "volume": cloud.volumes,
            "volume snapshot": cloud.snapshots,
            "group": cloud.groups,
            "group snapshot": cloud.group_snapshots,
        }
        assert [each for each in listings[kind]() if each.id == stuck] == []

    def test_force_does_not_take_what_something_hangs_on(
        self, cloud: Cloud, admin: Cloud, connector: Connector
    ) -> None:
        snapshot = new_snapshot(cloud)
        taken = _make(cloud, "group snapshot")
        (of_group,) = [each for each in cloud.snapshots() if each.group_snapshot_id == taken]
        busy = cloud.create_volume(VolumeSpec("disk", 1))
        group_id = cloud.get_volume(of_group.volume_id).group_id
        assert group_id is not None
        with attached_to(cloud, connector, busy, Mode.READ):
            for volume_id in (snapshot.volume_id, of_group.volume_id, busy.id):
                with pytest.raises(UnexpectedStateError, match=volume_id):
                    admin.force_delete_volume(volume_id)
        with pytest.raises(UnexpectedStateError, match=of_group.id):
            admin.force_delete_snapshot(of_group.id)
        with pytest.raises(UnexpectedStateError, match=group_id):
            admin.force_delete_group(group_id)
        assert cloud.get_group(group_id).status == "available"

    # Several roles

    def test_a_user_works_in_another_project_with_the_role_there(self, cloud: Cloud, admin: Cloud) -> None:
        with admin.in_project(cloud.project().id) as scoped:
            assert (scoped.project(), scoped.is_admin()) == (cloud.project(), False)
            made = scoped.create_volume(VolumeSpec("disk", 1))
        assert cloud.get_volume(made.id).project_id == cloud.project().id
        assert list(admin.volumes()) == []

    def test_a_user_without_a_role_in_a_project_does_not_get_there(
        self, cloud: Cloud, stranger: Cloud, admin: Cloud
    ) -> None:
        for user, project_id in ((admin, stranger.project().id), (cloud, stranger.project().id), (admin, MISSING)):
            with pytest.raises(AccessForbiddenError, match=project_id), user.in_project(project_id):
                pass

    # Transfers

    def test_an_accepted_volume_and_its_snapshots_belong_to_who_accepted(self, cloud: Cloud, stranger: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1, description="text", metadata={"k": "v", **RUN.tags}))
        cloud.create_snapshot(volume.id, name="frozen", metadata={})
        offered = cloud.create_transfer(volume.id, name=RUN.mark)
        accepted = stranger.accept_transfer(offered)
        assert (accepted.id, accepted.status, accepted.project_id) == (volume.id, "available", stranger.project().id)
        assert (accepted.name, accepted.description, accepted.metadata) == ("disk", "text", volume.metadata)
        assert [snapshot.volume_id for snapshot in stranger.snapshots()] == [volume.id]
        assert (list(cloud.volumes()), list(cloud.snapshots()), list(cloud.transfers())) == ([], [], [])

    def test_an_offered_volume_can_be_used_for_nothing_else(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        offered = cloud.create_transfer(volume.id, name=RUN.mark)
        assert (offered.name, offered.volume_id, offered.key is not None) == (RUN.mark, volume.id, True)
        assert cloud.get_volume(volume.id).status == "awaiting-transfer"
        assert list(cloud.transfers()) == [replace(offered, key=None)]
        for refused in (lambda: cloud.delete_volume(volume.id), lambda: cloud.create_transfer(volume.id, name="x")):
            with pytest.raises(UnexpectedStateError, match=volume.id):
                refused()

    def test_an_offer_can_be_taken_back(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        offered = cloud.create_transfer(volume.id, name="gift")
        for transfer_id in (offered.id, offered.id, MISSING):
            cloud.delete_transfer(transfer_id)
        assert (list(cloud.transfers()), cloud.get_volume(volume.id).status) == ([], "available")

    def test_only_who_has_the_key_gets_the_volume(self, cloud: Cloud, stranger: Cloud) -> None:
        offered = cloud.create_transfer(cloud.create_volume(VolumeSpec("disk", 1)).id, name="gift")
        for key in (Secret("0123456789abcdef"), None):
            with pytest.raises(CloudError, match=offered.id):
                stranger.accept_transfer(replace(offered, key=key))
        assert (list(stranger.volumes()), list(stranger.transfers())) == ([], [])
        stranger.delete_transfer(offered.id)
        assert [each.id for each in cloud.transfers()] == [offered.id]

    def test_what_is_not_there_is_neither_offered_nor_accepted(self, cloud: Cloud) -> None:
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.create_transfer(MISSING, name="gift")
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.accept_transfer(Transfer(MISSING, "gift", MISSING, Secret("0123456789abcdef")))


def _make(cloud: Cloud, kind: str) -> str:
    """One of the kind, with what it needs; its id."""
    match kind:
        case "volume":
            return cloud.create_volume(VolumeSpec("disk", 1)).id
        case "volume snapshot":
            return new_snapshot(cloud).id
    group = cloud.create_group(GroupSpec("group", "consistent", ("__DEFAULT__",)))
    if kind == "group":
        return group.id
    cloud.create_volume(VolumeSpec("disk", 1, volume_type="__DEFAULT__", group_id=group.id))
    return cloud.create_group_snapshot(group.id, name="frozen", description="").id
