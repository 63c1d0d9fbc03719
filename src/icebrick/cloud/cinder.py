"""Cinder with one user's rights, seen as a Cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from icebrick.cloud.api import Json, RestApi
from icebrick.cloud.base import (
    Attachment,
    Cloud,
    Group,
    GroupSnapshot,
    GroupSpec,
    Mode,
    Project,
    Transfer,
    Volume,
    VolumeSettings,
    VolumeSnapshot,
    VolumeSpec,
)
from icebrick.cloud.groups import CinderGroups
from icebrick.cloud.lifecycle import Lifecycle, found_by
from icebrick.cloud.records import attachment_from, encryption_from, snapshot_from, volume_from
from icebrick.cloud.servers import Servers
from icebrick.cloud.settings import changes_to
from icebrick.cloud.transfers import CinderTransfers
from icebrick.cloud.wait import Resource, Waiter
from icebrick.connection import ConnectorProperties
from icebrick.encryption import Encryption, VolumeKey
from icebrick.errors import AccessForbiddenError, UnexpectedStateError
from icebrick.run import HOST_KEY, RUN_KEY

_CHANGING = frozenset(
    {"creating", "downloading", "attaching", "detaching", "extending", "retyping", "uploading", "backing-up"}
    | {"restoring-backup"}
)
"""States of a volume that end by themselves, unless whoever is at work died."""
_NOT_DELETABLE_YET = _CHANGING | {"deleting"}
_NO_SNAPSHOT_YET = _CHANGING | {"reserved"}
_SNAPSHOT_CHANGING = frozenset({"creating", "deleting", "backing-up", "restoring"})
_SNAPSHOT_ATTEMPTS = 5
_ALL = {"all_tenants": "1"}
_ADMIN_HINT = "The user needs the role 'admin' in the project that it logs in to."


@dataclass(frozen=True, slots=True)
class Login:
    """Who is logged in, and what else the same login opens."""

    project: Project
    admin: bool
    in_project: Callable[[str], AbstractContextManager[Cloud]]
    """The same user in another project."""
    find_servers: Callable[[Cloud], Servers]
    list_projects: Callable[[], Sequence[Project]]
    """Of all; refused by Keystone to all but administrators."""
    get_key: Callable[[Encryption], VolumeKey]
    close: Callable[[], None]


class CinderCloud(Cloud):
    """Built by `session.connect`; `close` when done."""

    def __init__(self, api: RestApi, login: Login, waiter: Waiter) -> None:
        self._api = api
        self._login = login
        self._lifecycle = Lifecycle(api, waiter)
        self._groups = CinderGroups(api, login.project, self._lifecycle)
        self._transfers = CinderTransfers(api)

    def close(self) -> None:
        self._login.close()

    def project(self) -> Project:
        return self._login.project

    def is_admin(self) -> bool:
        return self._login.admin

    def all_projects(self) -> Sequence[Project]:
        return self._login.list_projects()

    def in_project(self, project_id: str) -> AbstractContextManager[Cloud]:
        return self._login.in_project(project_id)

    def servers(self) -> Servers:
        return self._login.find_servers(self)

    # Encryption

    def find_encryption(self, volume_id: str) -> Encryption | None:
        return encryption_from(self._api.get(f"/volumes/{volume_id}/encryption", f"read encryption of {volume_id}"))

    def get_key(self, encryption: Encryption) -> VolumeKey:
        return self._login.get_key(encryption)

    # What there is to choose from

    def volume_types(self) -> Sequence[str]:
        every = {"is_public": "none"}  # else administrators, who may use them all, are told of the public ones only
        return [each["name"] for each in self._api.list_all("/types", "volume_types", "list volume types", **every)]

    def availability_zones(self) -> Sequence[str]:
        zones = self._api.get("/os-availability-zone", "list availability zones")["availabilityZoneInfo"]
        return [zone["zoneName"] for zone in zones if zone["zoneState"]["available"]]

    # Volumes

    def volumes(self) -> Sequence[Volume]:
        return self._volumes()

    def all_volumes(self) -> Sequence[Volume]:
        return self._volumes(**self._of_all("list the volumes of all projects"))

    def get_volume(self, volume_id: str) -> Volume:
        return volume_from(self._api.get(f"/volumes/{volume_id}", f"read volume {volume_id}")["volume"])

    def find_volume(self, volume_id: str) -> Volume | None:
        return found_by(lambda: self.get_volume(volume_id))

    def create_volume(self, spec: VolumeSpec) -> Volume:
        body: Json = {
            "name": spec.name,
            "size": spec.size,
            "description": spec.description,
            "volume_type": spec.volume_type,
            "availability_zone": spec.availability_zone,
            "group_id": spec.group_id,
            "metadata": dict(spec.metadata),
        }
        wanted = {key: value for key, value in body.items() if value is not None}
        return self._create_volume(wanted, f"create volume {spec.name}")

    def create_clone(self, snapshot: VolumeSnapshot, *, name: str, metadata: Mapping[str, str]) -> Volume:
        # No type: it inherits the snapshot's, even a private one that this user could not name.
        body: Json = {"name": name, "size": snapshot.size, "snapshot_id": snapshot.id, "metadata": dict(metadata)}
        return self._create_volume(body, f"create a clone of volume snapshot {snapshot.id}")

    def apply_settings(self, volume_id: str, settings: VolumeSettings) -> Volume:
        for change in changes_to(self.get_volume(volume_id), settings):
            send = self._api.put if change.replaces else self._api.post
            send(change.path, change.body, f"apply settings to volume {volume_id}")
        return self.get_volume(volume_id)

    def untag_volume(self, volume_id: str) -> None:
        tags = self.get_volume(volume_id).metadata
        for key in (RUN_KEY, HOST_KEY):  # the run first: a volume without it is nobody's leftover
            if key in tags:
                self._api.delete(f"/volumes/{volume_id}/metadata/{key}", f"untag volume {volume_id}")

    def add_notes(self, volume_id: str, notes: Mapping[str, str]) -> None:
        self._api.post(
            f"/volumes/{volume_id}/metadata", {"metadata": dict(notes)}, f"write notes on volume {volume_id}"
        )

    def remove_notes(self, volume_id: str, keys: Iterable[str]) -> None:
        for key in keys:
            self._api.delete(f"/volumes/{volume_id}/metadata/{key}", f"remove a note from volume {volume_id}")

    def delete_volume(self, volume_id: str) -> None:
        what = Resource("volume", volume_id)
        if self._lifecycle.settled(lambda: self.find_volume(volume_id), _NOT_DELETABLE_YET, what):
            self._lifecycle.delete(f"/volumes/{volume_id}", lambda: self.find_volume(volume_id), what)

    def force_delete_volume(self, volume_id: str) -> None:
        what = Resource("volume", volume_id)
        self._force_delete(f"/volumes/{volume_id}", what)
        self._lifecycle.until_gone(lambda: self.find_volume(volume_id), what)

    # Volume snapshots

    def snapshots(self) -> Sequence[VolumeSnapshot]:
        return self._snapshots()

    def all_snapshots(self) -> Sequence[VolumeSnapshot]:
        return self._snapshots(**self._of_all("list the volume snapshots of all projects"))

    def create_snapshot(self, volume_id: str, *, name: str, metadata: Mapping[str, str]) -> VolumeSnapshot:
        body = {"volume_id": volume_id, "name": name, "force": True, "metadata": dict(metadata)}
        snapshot_id = self._request_snapshot(volume_id, {"snapshot": body})
        what = Resource("volume snapshot", snapshot_id, f"of volume {volume_id}")
        with self._lifecycle.discarded_on_error(lambda: self.delete_snapshot(snapshot_id), what):
            return self._lifecycle.until_made(lambda: self._get_snapshot(snapshot_id), what)

    def replace_snapshot_metadata(self, snapshot_id: str, metadata: Mapping[str, str]) -> None:
        doing = f"mark volume snapshot {snapshot_id}"
        self._api.put(f"/snapshots/{snapshot_id}/metadata", {"metadata": dict(metadata)}, doing)

    def delete_snapshot(self, snapshot_id: str) -> None:
        what = Resource("volume snapshot", snapshot_id)
        if self._lifecycle.settled(lambda: self._find_snapshot(snapshot_id), _SNAPSHOT_CHANGING, what):
            self._lifecycle.delete(f"/snapshots/{snapshot_id}", lambda: self._find_snapshot(snapshot_id), what)

    def force_delete_snapshot(self, snapshot_id: str) -> None:
        what = Resource("volume snapshot", snapshot_id)
        self._force_delete(f"/snapshots/{snapshot_id}", what)
        self._lifecycle.until_gone(lambda: self._find_snapshot(snapshot_id), what)

    # Attachments

    def attachments(self, volume_id: str) -> Sequence[Attachment]:
        doing = f"list attachments of volume {volume_id}"
        scope = _ALL if self._login.admin else {}  # an administrator may ask for another project's volume
        records = self._api.list_all("/attachments/detail", "attachments", doing, volume_id=volume_id, **scope)
        return [attachment_from(record) for record in records]

    def create_attachment(self, volume_id: str, mode: Mode) -> Attachment:
        # Without a connector, and so in two calls: in the one-call form the wish for read-only does not reach the
        # driver, and a failing driver leaves a record behind whose id is not told.
        body = {"attachment": {"volume_uuid": volume_id, "mode": mode.value}}
        return attachment_from(self._api.post("/attachments", body, f"reserve volume {volume_id}")["attachment"])

    def connect_attachment(self, attachment_id: str, connector: ConnectorProperties, mode: Mode) -> Attachment:
        # The mode is given again: some drivers look only at the connector's.
        body = {"attachment": {"connector": {**connector.values, "mode": mode.value}}}
        doing = f"connect attachment {attachment_id}"
        connected = attachment_from(self._api.put(f"/attachments/{attachment_id}", body, doing)["attachment"])
        if connected.connection is None:
            raise UnexpectedStateError(f"cannot {doing}: Cinder told no connection")
        return connected

    def complete_attachment(self, attachment_id: str) -> None:
        body = {"os-complete": attachment_id}
        self._api.post(f"/attachments/{attachment_id}/action", body, f"complete attachment {attachment_id}")

    def delete_attachment(self, attachment_id: str) -> None:
        self._api.delete(f"/attachments/{attachment_id}", f"delete attachment {attachment_id}")

    # Groups

    def groups(self) -> Sequence[Group]:
        return self._groups.groups(of_all=False)

    def all_groups(self) -> Sequence[Group]:
        self._require_admin("list the groups of all projects")
        return self._groups.groups(of_all=True)

    def get_group(self, group_id: str) -> Group:
        return self._groups.get(group_id)

    def find_group(self, group_id: str) -> Group | None:
        return found_by(lambda: self._groups.get(group_id))

    def create_group(self, spec: GroupSpec) -> Group:
        return self._groups.create(spec)

    def update_group(self, group_id: str, *, name: str, description: str) -> Group:
        return self._groups.update(group_id, name=name, description=description)

    def add_to_group(self, group_id: str, volume_id: str) -> None:
        self._groups.add(group_id, volume_id)

    def remove_from_group(self, volume_id: str) -> None:
        self._groups.remove(volume_id)

    def delete_group(self, group_id: str) -> None:
        self._groups.delete(group_id)

    def force_delete_group(self, group_id: str) -> None:
        self._require_admin(f"force the deletion of group {group_id}")
        self._groups.force_delete(group_id)

    # Group snapshots

    def group_snapshots(self) -> Sequence[GroupSnapshot]:
        return self._groups.snapshots(of_all=False)

    def all_group_snapshots(self) -> Sequence[GroupSnapshot]:
        self._require_admin("list the group snapshots of all projects")
        return self._groups.snapshots(of_all=True)

    def create_group_snapshot(self, group_id: str, *, name: str, description: str) -> GroupSnapshot:
        return self._groups.create_snapshot(group_id, name=name, description=description)

    def delete_group_snapshot(self, group_snapshot_id: str) -> None:
        self._groups.delete_snapshot(group_snapshot_id)

    def force_delete_group_snapshot(self, group_snapshot_id: str) -> None:
        self._require_admin(f"force the deletion of group snapshot {group_snapshot_id}")
        self._groups.force_delete_snapshot(group_snapshot_id)

    # Transfers

    def transfers(self) -> Sequence[Transfer]:
        return self._transfers.transfers(of_all=False)

    def all_transfers(self) -> Sequence[Transfer]:
        self._require_admin("list the transfers of all projects")
        return self._transfers.transfers(of_all=True)

    def create_transfer(self, volume_id: str, *, name: str) -> Transfer:
        return self._transfers.create(volume_id, name=name)

    def accept_transfer(self, transfer: Transfer) -> Volume:
        self._transfers.accept(transfer)
        return self.get_volume(transfer.volume_id)

    def delete_transfer(self, transfer_id: str) -> None:
        self._transfers.delete(transfer_id)

    # How it is done

    def _require_admin(self, doing: str) -> None:
        if not self._login.admin:  # Cinder would not refuse a listing, but answer with the project's own
            raise AccessForbiddenError(f"cannot {doing}: only an administrator may", hint=_ADMIN_HINT)

    def _of_all(self, doing: str) -> dict[str, str]:
        self._require_admin(doing)
        return _ALL

    def _volumes(self, **scope: str) -> list[Volume]:
        return [volume_from(each) for each in self._api.list_all("/volumes/detail", "volumes", "list volumes", **scope)]

    def _snapshots(self, **scope: str) -> list[VolumeSnapshot]:
        records = self._api.list_all("/snapshots/detail", "snapshots", "list volume snapshots", **scope)
        return [snapshot_from(record) for record in records]

    def _get_snapshot(self, snapshot_id: str) -> VolumeSnapshot:
        answer = self._api.get(f"/snapshots/{snapshot_id}", f"read volume snapshot {snapshot_id}")
        return snapshot_from(answer["snapshot"])

    def _find_snapshot(self, snapshot_id: str) -> VolumeSnapshot | None:
        return found_by(lambda: self._get_snapshot(snapshot_id))

    def _create_volume(self, body: Json, doing: str) -> Volume:
        volume_id: str = self._api.post("/volumes", {"volume": body}, doing)["volume"]["id"]
        what = Resource("volume", volume_id, f"({body['name']})")
        with self._lifecycle.discarded_on_error(lambda: self._discard_volume(volume_id), what):
            return self._lifecycle.until_made(lambda: self.get_volume(volume_id), what)

    def _discard_volume(self, volume_id: str) -> None:
        volume = self.find_volume(volume_id)
        if volume is not None and volume.group_id is not None:
            self.remove_from_group(volume_id)
        self.delete_volume(volume_id)

    def _force_delete(self, path: str, what: Resource) -> None:
        doing = f"force the deletion of {what}"
        self._require_admin(doing)
        self._api.post_if_there(f"{path}/action", {"os-force_delete": {}}, doing)

    def _request_snapshot(self, volume_id: str, body: Json) -> str:
        """Ask for it when the volume is at rest; again when it has begun to change in between."""

        def request() -> str:
            what = Resource("volume", volume_id)
            self._lifecycle.at_rest(lambda: self.get_volume(volume_id), _NO_SNAPSHOT_YET, what)
            doing = f"create a volume snapshot of volume {volume_id}"
            return str(self._api.post("/snapshots", body, doing)["snapshot"]["id"])

        for _ in range(_SNAPSHOT_ATTEMPTS - 1):
            try:
                return request()
            except UnexpectedStateError:
                if self.get_volume(volume_id).status not in _NO_SNAPSHOT_YET:
                    raise
        return request()
