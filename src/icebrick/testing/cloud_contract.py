"""What every Cloud must do: FakeCloud and the real Cinder pass the same suite.

Here: volumes, volume snapshots and attachments of one project. `group_contract` and `project_contract` have the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from icebrick.attach.base import Connector
from icebrick.cloud.base import Cloud, Mode, VolumeSettings, VolumeSnapshot, VolumeSpec
from icebrick.errors import AttachError, CloudError, QuotaError, ResourceMissingError, UnexpectedStateError
from icebrick.run import COLD_PREFIX, Run
from icebrick.testing.cloud_suite import (
    GIB,
    MISSING,
    PLAIN,
    RUN,
    attached_to,
    new_snapshot,
    read_back,
    settings_of,
    write_to,
)


class CloudContract:
    """Inherit, and give the fixtures `cloud`, `connector` and `stranger`, as in `cloud_suite`."""

    @pytest.fixture(autouse=True)
    def _empty(self, cloud: Cloud, stranger: Cloud) -> Iterator[None]:
        yield
        for project in (cloud, stranger):
            _wipe(project)

    # Volumes

    def test_a_created_volume_is_available_and_as_specified(self, cloud: Cloud) -> None:
        made = cloud.create_volume(
            VolumeSpec("disk", 1, description="of a server", metadata={"k": "v", "os: type/1.0": "ö"})
        )
        assert (made.name, made.size, made.status) == ("disk", 1, "available")
        assert (made.description, dict(made.metadata)) == ("of a server", {"k": "v", "os: type/1.0": "ö"})
        assert made.project_id == cloud.project().id
        assert (made.bootable, made.read_only, made.encrypted, made.group_id) == (False, False, False, None)

    def test_a_volume_is_read_as_it_was_created(self, cloud: Cloud) -> None:
        made = cloud.create_volume(VolumeSpec("disk", 1))
        assert cloud.get_volume(made.id).name == "disk"
        assert cloud.find_volume(made.id) is not None

    def test_a_volume_comes_with_the_raw_record(self, cloud: Cloud) -> None:
        made = cloud.create_volume(VolumeSpec("disk", 1, metadata={"k": "v"}))
        assert made.record["id"] == made.id
        assert made.record["metadata"] == {"k": "v"}

    def test_the_listing_has_every_volume_once(self, cloud: Cloud) -> None:
        made = {cloud.create_volume(VolumeSpec(f"disk {n}", 1)).id for n in range(4)}
        listed = [volume.id for volume in cloud.volumes()]
        assert made == set(listed)
        assert len(listed) == len(made)

    def test_a_missing_volume_is_not_found(self, cloud: Cloud) -> None:
        assert cloud.find_volume(MISSING) is None
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.get_volume(MISSING)

    def test_a_deleted_volume_is_gone_on_return(self, cloud: Cloud) -> None:
        made = cloud.create_volume(VolumeSpec("disk", 1))
        cloud.delete_volume(made.id)
        assert cloud.find_volume(made.id) is None

    def test_deleting_a_volume_that_is_gone_is_no_error(self, cloud: Cloud) -> None:
        cloud.delete_volume(MISSING)

    def test_a_volume_with_a_snapshot_is_not_deleted(self, cloud: Cloud) -> None:
        snapshot = new_snapshot(cloud)
        with pytest.raises(UnexpectedStateError, match=snapshot.volume_id):
            cloud.delete_volume(snapshot.volume_id)

    def test_a_volume_beyond_the_quota_is_a_quota_error(self, cloud: Cloud) -> None:
        with pytest.raises(QuotaError):
            cloud.create_volume(VolumeSpec("huge", 1_000_000))

    def test_metadata_that_is_too_long_is_refused_and_leaves_nothing(self, cloud: Cloud) -> None:
        with pytest.raises(CloudError):
            cloud.create_volume(VolumeSpec("disk", 1, metadata={"k": "v" * 256}))
        assert cloud.volumes() == []

    def test_metadata_keys_of_other_characters_are_refused(self, cloud: Cloud) -> None:
        with pytest.raises(CloudError):
            cloud.create_volume(VolumeSpec("disk", 1, metadata={"ü": "v"}))

    def test_volumes_have_the_types_and_zones_that_are_told_and_no_others(self, cloud: Cloud) -> None:
        volume_type, zone = cloud.volume_types()[0], cloud.availability_zones()[0]
        made = cloud.create_volume(VolumeSpec("disk", 1, volume_type=volume_type, availability_zone=zone))
        assert (made.volume_type, made.availability_zone) == (volume_type, zone)
        with pytest.raises(ResourceMissingError):
            cloud.create_volume(VolumeSpec("disk", 1, volume_type="no such type"))
        with pytest.raises(CloudError):
            cloud.create_volume(VolumeSpec("disk", 1, availability_zone="no such zone"))

    # Settings and tags

    def test_settings_replace_the_volumes_own(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("before", 1, metadata={"old": "1"}))
        wanted = VolumeSettings("after", "text", {"new": "2"}, {"os_distro": "debian"}, bootable=True, read_only=True)
        cloud.apply_settings(volume.id, wanted)
        assert settings_of(cloud.get_volume(volume.id)) == wanted

    def test_settings_are_taken_back_by_others(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("before", 1))
        first = VolumeSettings("a", "b", {"c": "d"}, {"e": "f", "g": "h"}, bootable=True, read_only=True)
        cloud.apply_settings(volume.id, first)
        cloud.apply_settings(volume.id, VolumeSettings("", "", {}, {"g": "i"}, bootable=False, read_only=False))
        after = settings_of(cloud.get_volume(volume.id))
        assert after == VolumeSettings("", "", {}, {"g": "i"}, bootable=False, read_only=False)

    def test_settings_may_be_applied_twice(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("before", 1))
        cloud.apply_settings(volume.id, PLAIN)
        assert settings_of(cloud.apply_settings(volume.id, PLAIN)) == PLAIN

    def test_settings_leave_the_runs_tags_and_bring_no_other_runs(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("before", 1, metadata=RUN.tags))
        old = Run("of the backup", "host2")
        cloud.apply_settings(volume.id, VolumeSettings("a", "", {"k": "v", **old.tags}, {}, False, False))
        assert cloud.get_volume(volume.id).metadata == {"k": "v", **RUN.tags}

    def test_untagging_takes_off_nothing_but_the_tags(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1, metadata={"k": "v", **RUN.tags}))
        cloud.untag_volume(volume.id)
        cloud.untag_volume(volume.id)
        assert cloud.get_volume(volume.id).metadata == {"k": "v"}

    def test_notes_are_no_part_of_what_a_volume_is_and_stay_until_they_are_removed(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1, metadata={"k": "v"}))
        first, second = f"{COLD_PREFIX}1", f"{COLD_PREFIX}2"
        cloud.add_notes(volume.id, {first: "one"})
        cloud.add_notes(volume.id, {second: "two"})
        cloud.apply_settings(volume.id, replace(PLAIN, metadata={"new": "w"}))
        (noted,) = cloud.volumes()
        assert (noted.notes, noted.metadata) == ({first: "one", second: "two"}, {"new": "w"})
        assert noted.record["metadata"] == {"new": "w"}
        cloud.remove_notes(volume.id, [first, "icebrick-cold-never"])
        assert cloud.get_volume(volume.id).notes == {second: "two"}

    def test_notes_stay_on_their_volume_and_go_with_it(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        cloud.add_notes(volume.id, {f"{COLD_PREFIX}1": "one"})
        snapshot = cloud.create_snapshot(volume.id, name="frozen", metadata={})
        assert cloud.create_clone(snapshot, name="copy", metadata={}).notes == {}
        cloud.remove_notes(MISSING, [f"{COLD_PREFIX}1"])
        with pytest.raises(ResourceMissingError):
            cloud.add_notes(MISSING, {f"{COLD_PREFIX}1": "one"})

    def test_settings_of_a_missing_volume_are_an_error(self, cloud: Cloud) -> None:
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.apply_settings(MISSING, PLAIN)

    # Volume snapshots and clones

    def test_a_snapshot_is_available_and_tagged(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        made = cloud.create_snapshot(volume.id, name="frozen", metadata=RUN.tags)
        assert (made.name, made.status, made.volume_id, made.size) == ("frozen", "available", volume.id, 1)
        assert [(s.id, dict(s.metadata)) for s in cloud.snapshots()] == [(made.id, RUN.tags)]

    def test_a_volume_in_use_can_be_snapshotted(self, cloud: Cloud, connector: Connector) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        with attached_to(cloud, connector, volume, Mode.WRITE):
            assert cloud.get_volume(volume.id).status == "in-use"
            assert cloud.create_snapshot(volume.id, name="hot", metadata={}).status == "available"

    def test_a_reserved_volume_cannot_be_snapshotted(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        cloud.create_attachment(volume.id, Mode.READ)
        with pytest.raises(UnexpectedStateError, match="reserved"):
            cloud.create_snapshot(volume.id, name="early", metadata={})

    def test_a_snapshot_of_a_missing_volume_is_an_error(self, cloud: Cloud) -> None:
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.create_snapshot(MISSING, name="nothing", metadata={})

    def test_a_deleted_snapshot_is_gone_on_return_and_may_be_deleted_again(self, cloud: Cloud) -> None:
        snapshot = new_snapshot(cloud)
        cloud.delete_snapshot(snapshot.id)
        cloud.delete_snapshot(snapshot.id)
        assert cloud.snapshots() == []

    def test_the_metadata_of_a_snapshot_is_replaced(self, cloud: Cloud) -> None:
        snapshot = new_snapshot(cloud)
        for wanted in ({"a": "1", "b": "2"}, {"b": "3"}, {"b": "3"}, {}):
            cloud.replace_snapshot_metadata(snapshot.id, wanted)
            assert [each.metadata for each in cloud.snapshots()] == [wanted]
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.replace_snapshot_metadata(MISSING, {})

    def test_a_clone_inherits_what_belongs_to_its_content_and_nothing_else(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1, description="text", metadata={"k": "v"}))
        cloud.apply_settings(volume.id, VolumeSettings("disk", "text", {"k": "v"}, {"os": "x"}, True, True))
        snapshot = cloud.create_snapshot(volume.id, name="frozen", metadata={})
        clone = cloud.get_volume(cloud.create_clone(snapshot, name="copy", metadata=RUN.tags).id)
        assert (clone.size, clone.volume_type, clone.status) == (1, volume.volume_type, "available")
        assert settings_of(clone) == VolumeSettings("copy", "", RUN.tags, {"os": "x"}, bootable=True, read_only=False)

    def test_a_clone_of_a_missing_snapshot_is_an_error(self, cloud: Cloud) -> None:
        gone = VolumeSnapshot(MISSING, "gone", "available", MISSING, 1)
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.create_clone(gone, name="copy", metadata={})

    def test_a_clone_holds_the_bytes_of_the_moment_of_the_snapshot(self, cloud: Cloud, connector: Connector) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        write_to(cloud, connector, volume, 1 << 20, b"before")
        snapshot = cloud.create_snapshot(volume.id, name="frozen", metadata={})
        write_to(cloud, connector, volume, 1 << 20, b"after!")
        clone = cloud.create_clone(snapshot, name="copy", metadata={})
        assert read_back(cloud, connector, clone, 1 << 20, 6) == b"before"
        assert read_back(cloud, connector, volume, 1 << 20, 6) == b"after!"

    # Attachments

    def test_an_attachment_goes_through_its_three_steps(self, cloud: Cloud, connector: Connector) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        reserved = cloud.create_attachment(volume.id, Mode.READ)
        assert (reserved.volume_id, reserved.connection) == (volume.id, None)
        assert cloud.get_volume(volume.id).status == "reserved"
        connected = cloud.connect_attachment(reserved.id, connector.properties(), Mode.READ)
        assert (connected.id, connected.connection is not None) == (reserved.id, True)
        cloud.complete_attachment(reserved.id)
        assert cloud.get_volume(volume.id).status == "in-use"
        cloud.delete_attachment(reserved.id)
        assert cloud.get_volume(volume.id).status == "available"

    def test_connecting_again_gives_the_same_connection_and_one_deletion_ends_it(
        self, cloud: Cloud, connector: Connector
    ) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        reserved = cloud.create_attachment(volume.id, Mode.READ)
        first, again = (cloud.connect_attachment(reserved.id, connector.properties(), Mode.READ) for _ in range(2))
        assert first.connection == again.connection is not None
        cloud.delete_attachment(reserved.id)
        assert (cloud.get_volume(volume.id).status, cloud.attachments(volume.id)) == ("available", [])

    def test_the_mode_in_which_a_volume_was_reserved_holds(self, cloud: Cloud, connector: Connector) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        reserved = cloud.create_attachment(volume.id, Mode.READ)
        connected = cloud.connect_attachment(reserved.id, connector.properties(), Mode.WRITE)
        assert connected.connection is not None
        with pytest.raises(AttachError), connector.open_target(connected.connection, size=GIB) as target:
            target.write(0, b"x" * 4096)
            target.flush()

    def test_attachments_are_listed_with_their_connections(self, cloud: Cloud, connector: Connector) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        with attached_to(cloud, connector, volume, Mode.READ) as attachment:
            (listed,) = cloud.attachments(volume.id)
            assert listed.id == attachment.id
            assert listed.connection is not None and attachment.connection is not None
            assert listed.connection.driver_volume_type == attachment.connection.driver_volume_type
        assert cloud.attachments(volume.id) == []

    def test_attachments_of_other_volumes_are_not_listed(self, cloud: Cloud) -> None:
        volumes = [cloud.create_volume(VolumeSpec("disk", 1)) for _ in range(2)]
        reserved = [cloud.create_attachment(volume.id, Mode.READ).id for volume in volumes]
        assert [[a.id for a in cloud.attachments(volume.id)] for volume in volumes] == [[r] for r in reserved]

    def test_a_volume_is_reserved_only_once(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        cloud.create_attachment(volume.id, Mode.READ)
        with pytest.raises(UnexpectedStateError, match=volume.id):
            cloud.create_attachment(volume.id, Mode.READ)

    def test_a_volume_in_use_is_not_deleted(self, cloud: Cloud, connector: Connector) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        with attached_to(cloud, connector, volume, Mode.READ), pytest.raises(UnexpectedStateError, match=volume.id):
            cloud.delete_volume(volume.id)

    def test_an_attachment_may_be_deleted_twice(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        reserved = cloud.create_attachment(volume.id, Mode.READ)
        cloud.delete_attachment(reserved.id)
        cloud.delete_attachment(reserved.id)

    def test_a_missing_attachment_is_an_error_to_all_but_deletion(self, cloud: Cloud, connector: Connector) -> None:
        cloud.delete_attachment(MISSING)
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.connect_attachment(MISSING, connector.properties(), Mode.READ)
        with pytest.raises(ResourceMissingError, match=MISSING):
            cloud.complete_attachment(MISSING)

    def test_a_read_only_attachment_cannot_be_written(self, cloud: Cloud, connector: Connector) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        with pytest.raises(AttachError), attached_to(cloud, connector, volume, Mode.READ) as attachment:
            assert attachment.connection is not None
            with connector.open_target(attachment.connection, size=GIB) as target:
                target.write(0, b"x" * 4096)
                target.flush()

    def test_a_device_smaller_than_promised_is_refused(self, cloud: Cloud, connector: Connector) -> None:
        volume = cloud.create_volume(VolumeSpec("disk", 1))
        with pytest.raises(AttachError), attached_to(cloud, connector, volume, Mode.READ) as attachment:
            assert attachment.connection is not None
            with connector.open_source(attachment.connection, size=2 * GIB):
                pass

    def test_a_connection_to_another_volume_than_was_asked_for_is_refused(
        self, cloud: Cloud, connector: Connector
    ) -> None:
        volume, other = (cloud.create_volume(VolumeSpec(name, 1)) for name in ("disk", "other"))
        with attached_to(cloud, connector, other, Mode.WRITE) as attachment:
            assert attachment.connection is not None
            answered = replace(attachment.connection, volume_id=volume.id)
            for opened in (connector.open_source, connector.open_target, connector.open_device):
                with pytest.raises(AttachError, match=other.id), opened(answered, size=GIB):
                    pass

    # Projects

    def test_other_projects_resources_do_not_exist(self, cloud: Cloud, stranger: Cloud) -> None:
        snapshot = new_snapshot(cloud)
        reserved = cloud.create_attachment(cloud.create_volume(VolumeSpec("disk", 1)).id, Mode.READ)
        assert cloud.project() != stranger.project()
        assert (list(stranger.volumes()), list(stranger.snapshots())) == ([], [])
        assert stranger.find_volume(snapshot.volume_id) is None
        assert list(stranger.attachments(reserved.volume_id)) == []
        with pytest.raises(ResourceMissingError):
            stranger.create_clone(snapshot, name="theft", metadata={})
        with pytest.raises(ResourceMissingError):
            stranger.complete_attachment(reserved.id)

    def test_deleting_what_is_another_projects_leaves_it(self, cloud: Cloud, stranger: Cloud) -> None:
        snapshot = new_snapshot(cloud)
        stranger.delete_snapshot(snapshot.id)
        stranger.delete_volume(snapshot.volume_id)
        assert [s.id for s in cloud.snapshots()] == [snapshot.id]


def _wipe(cloud: Cloud) -> None:
    for snapshot in cloud.snapshots():
        cloud.delete_snapshot(snapshot.id)
    for volume in cloud.volumes():
        for attachment in cloud.attachments(volume.id):
            cloud.delete_attachment(attachment.id)
        cloud.delete_volume(volume.id)
