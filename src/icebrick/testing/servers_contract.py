"""What every Servers must do. A class that inherits `ServersContract` runs it; its module provides the fixtures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from icebrick.cloud.base import Cloud, VolumeSpec
from icebrick.cloud.servers import ServerAttachment
from icebrick.errors import ResourceMissingError, UnexpectedStateError
from icebrick.run import COLD_PREFIX

NO_SERVER = "00000000-0000-4000-8000-000000000000"


class ServersContract:
    """Fixtures: `cloud`, a login; `server`, the id of a server of its project, with one volume, its `root`;
    `lock`, which locks a server, and unlocks it with False; `admin`, an administrator in another project.
    """

    @pytest.fixture
    def volume_id(self, cloud: Cloud, server: str) -> str:
        return cloud.create_volume(VolumeSpec("data", 1)).id

    @pytest.fixture
    def attached(self, cloud: Cloud, server: str, volume_id: str) -> ServerAttachment:
        return cloud.servers().attach(ServerAttachment(server, volume_id, delete_on_termination=True))

    def test_a_volume_of_no_server_has_no_attachments(self, cloud: Cloud, volume_id: str) -> None:
        assert list(cloud.servers().attachments(volume_id)) == []

    def test_an_attached_volume_is_told_with_server_device_and_fate(
        self, cloud: Cloud, server: str, volume_id: str, attached: ServerAttachment
    ) -> None:
        assert list(cloud.servers().attachments(volume_id)) == [attached]
        assert (attached.server_id, attached.volume_id) == (server, volume_id)
        assert (attached.device or "").startswith("/dev/")
        assert attached.delete_on_termination
        assert cloud.get_volume(volume_id).status == "in-use"
        assert [one.server_id for one in cloud.attachments(volume_id)] == [server]

    def test_a_detached_volume_is_available_at_once(
        self, cloud: Cloud, server: str, volume_id: str, attached: ServerAttachment
    ) -> None:
        cloud.servers().detach(server, volume_id)
        assert cloud.get_volume(volume_id).status == "available"
        assert list(cloud.attachments(volume_id)) == []
        assert list(cloud.servers().attachments(volume_id)) == []

    def test_detaching_what_is_not_attached_is_no_error(self, cloud: Cloud, server: str, volume_id: str) -> None:
        cloud.servers().detach(server, volume_id)
        cloud.servers().detach(NO_SERVER, volume_id)
        assert cloud.get_volume(volume_id).status == "available"

    def test_a_volume_comes_back_as_it_was(
        self, cloud: Cloud, server: str, volume_id: str, attached: ServerAttachment
    ) -> None:
        cloud.servers().detach(server, volume_id)
        assert cloud.servers().attach(attached) == attached

    def test_attaching_what_is_attached_is_no_error(
        self, cloud: Cloud, volume_id: str, attached: ServerAttachment
    ) -> None:
        assert cloud.servers().attach(attached) == attached
        assert len(cloud.attachments(volume_id)) == 1

    def test_a_name_that_is_taken_is_another_one(
        self, cloud: Cloud, server: str, volume_id: str, attached: ServerAttachment
    ) -> None:
        second = cloud.create_volume(VolumeSpec("second", 1))
        given = cloud.servers().attach(replace(attached, volume_id=second.id))
        assert given.device not in (None, attached.device)

    def test_a_root_volume_is_kept(self, cloud: Cloud, server: str, root: str) -> None:
        with pytest.raises(UnexpectedStateError, match=root):
            cloud.servers().detach(server, root)
        assert [one.server_id for one in cloud.servers().attachments(root)] == [server]
        assert cloud.get_volume(root).status == "in-use"

    def test_a_locked_server_keeps_and_takes_nothing(
        self, cloud: Cloud, server: str, attached: ServerAttachment, lock: Callable[[str, bool], None]
    ) -> None:
        free = cloud.create_volume(VolumeSpec("free", 1))
        lock(server, True)
        with pytest.raises(UnexpectedStateError, match="locked"):
            cloud.servers().detach(server, attached.volume_id)
        with pytest.raises(UnexpectedStateError, match="locked"):
            cloud.servers().attach(ServerAttachment(server, free.id))
        lock(server, False)
        assert cloud.get_volume(attached.volume_id).status == "in-use"
        assert cloud.get_volume(free.id).status == "available"

    def test_an_administrator_notes_and_moves_another_projects_volume(
        self, cloud: Cloud, admin: Cloud, server: str, volume_id: str, attached: ServerAttachment
    ) -> None:
        assert list(admin.servers().attachments(volume_id)) == [attached]
        note = {f"{COLD_PREFIX}1": "one"}
        admin.add_notes(volume_id, note)
        admin.servers().detach(server, volume_id)
        assert list(cloud.attachments(volume_id)) == []
        assert cloud.get_volume(volume_id).notes == note
        assert admin.servers().attach(attached) == attached
        admin.remove_notes(volume_id, note)
        assert not cloud.get_volume(volume_id).notes
        assert list(cloud.servers().attachments(volume_id)) == [attached]

    def test_not_even_an_administrator_attaches_a_volume_to_another_projects_server(
        self, admin: Cloud, server: str
    ) -> None:
        volume = admin.create_volume(VolumeSpec("of the administrator", 1))
        with pytest.raises(UnexpectedStateError, match="different projects"):
            admin.servers().attach(ServerAttachment(server, volume.id))
        assert admin.get_volume(volume.id).status == "available"
        admin.delete_volume(volume.id)

    def test_nothing_is_attached_to_a_server_that_is_gone(self, cloud: Cloud, volume_id: str) -> None:
        with pytest.raises(ResourceMissingError, match=NO_SERVER):
            cloud.servers().attach(ServerAttachment(NO_SERVER, volume_id))
