"""Cinder with one user's rights, seen as a Cloud."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from icebrick.cloud.api import CinderApi, Json
from icebrick.cloud.base import (
    Attachment,
    Cloud,
    Mode,
    Project,
    Volume,
    VolumeSettings,
    VolumeSnapshot,
    VolumeSpec,
)
from icebrick.cloud.records import attachment_from, snapshot_from, volume_from
from icebrick.cloud.settings import changes_to
from icebrick.cloud.wait import ADMIN_HINT, S, Waiter
from icebrick.connection import ConnectorProperties
from icebrick.errors import CloudError, ResourceMissingError, UnexpectedStateError
from icebrick.run import HOST_KEY, RUN_KEY

_LOG = logging.getLogger(__name__)

_AVAILABLE = frozenset({"available"})
_CHANGING = frozenset(
    {"creating", "downloading", "attaching", "detaching", "extending", "retyping", "uploading", "backing-up"}
    | {"restoring-backup"}
)
"""States of a volume that end by themselves, unless whoever is at work died."""
_NOT_DELETABLE_YET = _CHANGING | {"deleting"}
_NO_SNAPSHOT_YET = _CHANGING | {"reserved"}
_SNAPSHOT_CHANGING = frozenset({"creating", "deleting", "backing-up", "restoring"})
_SNAPSHOT_ATTEMPTS = 5


class CinderCloud(Cloud):
    """Built by `session.connect`; `close` when done."""

    def __init__(self, api: CinderApi, project: Project, waiter: Waiter, *, close: Callable[[], None]) -> None:
        self._api = api
        self._project = project
        self._waiter = waiter
        self.close = close

    def project(self) -> Project:
        return self._project

    # Volumes

    def volumes(self) -> Sequence[Volume]:
        return [volume_from(record) for record in self._api.list_all("/volumes/detail", "volumes", "list volumes")]

    def get_volume(self, volume_id: str) -> Volume:
        return volume_from(self._api.get(f"/volumes/{volume_id}", f"read volume {volume_id}")["volume"])

    def find_volume(self, volume_id: str) -> Volume | None:
        return _found(lambda: self.get_volume(volume_id))

    def create_volume(self, spec: VolumeSpec) -> Volume:
        body: Json = {
            "name": spec.name,
            "size": spec.size,
            "description": spec.description,
            "volume_type": spec.volume_type,
            "availability_zone": spec.availability_zone,
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

    def delete_volume(self, volume_id: str) -> None:
        what = f"volume {volume_id}"

        def find() -> Volume | None:
            return self.find_volume(volume_id)

        if self._settled(find, _NOT_DELETABLE_YET, what):
            self._api.delete(f"/volumes/{volume_id}", f"delete {what}")
            self._until_gone(find, what)

    # Volume snapshots

    def snapshots(self) -> Sequence[VolumeSnapshot]:
        records = self._api.list_all("/snapshots/detail", "snapshots", "list volume snapshots")
        return [snapshot_from(record) for record in records]

    def create_snapshot(self, volume_id: str, *, name: str, metadata: Mapping[str, str]) -> VolumeSnapshot:
        body = {"volume_id": volume_id, "name": name, "force": True, "metadata": dict(metadata)}
        snapshot_id = self._request_snapshot(volume_id, {"snapshot": body})
        with self._discarded_on_error(lambda: self.delete_snapshot(snapshot_id), f"volume snapshot {snapshot_id}"):
            return self._until_available(
                lambda: self._get_snapshot(snapshot_id), f"volume snapshot {snapshot_id} of volume {volume_id}"
            )

    def delete_snapshot(self, snapshot_id: str) -> None:
        what = f"volume snapshot {snapshot_id}"

        def find() -> VolumeSnapshot | None:
            return _found(lambda: self._get_snapshot(snapshot_id))

        if self._settled(find, _SNAPSHOT_CHANGING, what):
            self._api.delete(f"/snapshots/{snapshot_id}", f"delete {what}")
            self._until_gone(find, what)

    # Attachments

    def attachments(self, volume_id: str) -> Sequence[Attachment]:
        doing = f"list attachments of volume {volume_id}"
        records = self._api.list_all("/attachments/detail", "attachments", doing, volume_id=volume_id)
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

    # How it is done

    def _get_snapshot(self, snapshot_id: str) -> VolumeSnapshot:
        answer = self._api.get(f"/snapshots/{snapshot_id}", f"read volume snapshot {snapshot_id}")
        return snapshot_from(answer["snapshot"])

    def _create_volume(self, body: Json, doing: str) -> Volume:
        volume_id: str = self._api.post("/volumes", {"volume": body}, doing)["volume"]["id"]
        with self._discarded_on_error(lambda: self.delete_volume(volume_id), f"volume {volume_id}"):
            return self._until_available(lambda: self.get_volume(volume_id), f"cannot {doing}: volume {volume_id}")

    def _request_snapshot(self, volume_id: str, body: Json) -> str:
        """Ask for it when the volume is at rest; again when it has begun to change in between."""

        def request() -> str:
            self._settled(lambda: self.get_volume(volume_id), _NO_SNAPSHOT_YET, f"volume {volume_id}")
            doing = f"create a volume snapshot of volume {volume_id}"
            return str(self._api.post("/snapshots", body, doing)["snapshot"]["id"])

        for _ in range(_SNAPSHOT_ATTEMPTS - 1):
            try:
                return request()
            except UnexpectedStateError:
                if self.get_volume(volume_id).status not in _NO_SNAPSHOT_YET:
                    raise
        return request()

    def _until_available(self, get: Callable[[], S], what: str) -> S:
        with self._explained(get):
            return self._waiter.until(get, _AVAILABLE, what=what, seconds=self._waiter.pace.work)

    def _until_gone(self, find: Callable[[], S | None], what: str) -> None:
        with self._explained(find):
            self._waiter.until_gone(find, what=what, seconds=self._waiter.pace.work)

    def _settled(self, find: Callable[[], S | None], changing: frozenset[str], what: str) -> S | None:
        found = self._waiter.while_in(find, changing, what=what, seconds=self._waiter.pace.settle)
        if found is not None and found.status == "error_deleting":
            raise UnexpectedStateError(f"{what} is in state error_deleting", hint=ADMIN_HINT)
        return found

    @contextmanager
    def _explained(self, look: Callable[[], S | None]) -> Iterator[None]:
        """Add what Cinder tells its users about a failure, which is often the only reason there is."""
        try:
            yield
        except UnexpectedStateError as error:
            reason = self._user_message(look)
            if not reason:
                raise
            raise UnexpectedStateError(f"{error}: {reason}", hint=error.hint) from error

    def _user_message(self, look: Callable[[], S | None]) -> str:
        try:
            failed = look()
            if failed is None:
                return ""
            messages = self._api.get("/messages", "read messages", resource_uuid=failed.id)["messages"]
        except CloudError as error:
            _LOG.debug("no user message error=%s", error)
            return ""
        newest: Json = max(messages, key=lambda message: str(message.get("created_at")), default={})
        return str(newest.get("user_message", "")).rstrip(".")

    @contextmanager
    def _discarded_on_error(self, delete: Callable[[], None], what: str) -> Iterator[None]:
        with ExitStack() as undo:
            undo.callback(_discard, delete, what)
            yield
            undo.pop_all()


def _discard(delete: Callable[[], None], what: str) -> None:
    """Delete what came to nothing; the error that brought us here matters more than a failure to do so."""
    try:
        delete()
    except CloudError as error:
        _LOG.warning("left behind, to be removed by a later cleanup: %s error=%s", what, error)


def _found(get: Callable[[], S]) -> S | None:
    try:
        return get()
    except ResourceMissingError:
        return None
