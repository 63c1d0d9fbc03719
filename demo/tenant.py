"""The member of a project who owns the volume: plain OpenStack, nothing of icebrick."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import openstack
from openstack.connection import Connection

from demo.shell import CommandError

_MICROVERSION = "3.71"


@contextmanager
def logged_in(user: str, clouds_yaml: Path) -> Iterator[Tenant]:
    """The user of that name, until the block ends."""
    loader = openstack.config.OpenStackConfig(config_files=[str(clouds_yaml)], load_envvars=False)
    with closing(Connection(config=loader.get_one(user))) as connection:
        yield Tenant(connection)


class Tenant:
    """Volumes by their ids; methods return when Cinder has finished."""

    def __init__(self, connection: Connection) -> None:
        self._cinder = connection.block_storage

    def create_volume(self, name: str, size: int, metadata: dict[str, str]) -> str:
        """A volume of `size` GiB; its id."""
        volume = self._cinder.create_volume(name=name, size=size, metadata=metadata)
        self._cinder.wait_for_status(volume, "available", ["error"], interval=0.2, wait=60)
        return str(volume.id)

    def describe(self, volume_id: str) -> str:
        volume = self._cinder.get_volume(volume_id)
        return f"volume {volume.id} '{volume.name}', {volume.size} GiB, {volume.status}, metadata {volume.metadata}"

    def volume_ids(self) -> set[str]:
        return {str(volume.id) for volume in self._cinder.volumes(details=False)}

    def delete_volume(self, volume_id: str) -> None:
        volume = self._cinder.get_volume(volume_id)
        self._cinder.delete_volume(volume)
        self._cinder.wait_for_delete(volume, interval=0.2, wait=60)

    @contextmanager
    def attached(self, volume_id: str) -> Iterator[Path]:
        """The volume's device on this host; the volume is in use until the block ends."""
        connector = {"host": socket.gethostname(), "ip": "127.0.0.1", "initiator": None, "mode": "rw"}
        body = {"attachment": {"volume_uuid": volume_id, "connector": connector, "mode": "rw"}}
        path = f"/attachments/{self._post('/attachments', body)['attachment']['id']}"
        try:
            answer = self._cinder.get(path, microversion=_MICROVERSION).json()
            self._post(f"{path}/action", {"os-complete": {}})
            yield Path(answer["attachment"]["connection_info"]["device_path"])
        finally:
            self._check(self._cinder.delete(path, microversion=_MICROVERSION))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._check(self._cinder.post(path, json=body, microversion=_MICROVERSION))
        return answer.json() if answer.content else None

    def _check(self, answer: Any) -> Any:
        if not answer.ok:
            raise CommandError(f"Cinder refused {answer.request.method} {answer.request.path_url}: {answer.text}")
        return answer
