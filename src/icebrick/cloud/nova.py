"""Nova with one user's rights, seen as Servers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from icebrick.cloud.api import Json, RestApi
from icebrick.cloud.base import Cloud
from icebrick.cloud.servers import ServerAttachment, Servers
from icebrick.cloud.wait import Resource, Waiter
from icebrick.errors import CloudError, CloudUnavailableError, ResourceMissingError, UnexpectedStateError

_LOG = logging.getLogger(__name__)

_ROOT = "Cannot detach a root device volume"
_KEPT_HINT = (
    "The server's operating system may be using it: unmount it there, or shut the server down. "
    "Without --cold the volume is backed up while it is attached."
)
_REFUSED_HINT = "The server was left as it is. Without --cold the volume is backed up while it is attached."
_GIVEN_UP_HINT = "'openstack server event list' tells what the server went through."


@dataclass(frozen=True, slots=True)
class _Bond:
    """A server and a volume that belong together in Nova's eyes or in Cinder's."""

    id: str
    status: str


_CHANGING = frozenset({"changing"})


class NovaServers(Servers):
    """Nova's word and Cinder's together: each ends its part at another moment."""

    def __init__(self, api: RestApi, cloud: Cloud, waiter: Waiter) -> None:
        self._api = api
        self._cloud = cloud
        self._waiter = waiter

    def attachments(self, volume_id: str) -> Sequence[ServerAttachment]:
        told = self._cloud.attachments(volume_id)
        return [self._get(one.server_id, volume_id) for one in told if one.server_id is not None]

    def detach(self, server_id: str, volume_id: str) -> None:
        doing = f"detach volume {volume_id} from server {server_id}"
        try:
            self._api.delete(_path(server_id, volume_id), doing)
        except UnexpectedStateError as error:
            raise UnexpectedStateError(str(error), hint=_REFUSED_HINT) from error
        except CloudError as error:
            if _ROOT not in str(error):
                raise
            raise UnexpectedStateError(str(error), hint=_REFUSED_HINT) from error
        if self._settled(server_id, volume_id):
            raise UnexpectedStateError(f"cannot {doing}: the server does not let go of it", hint=_KEPT_HINT)

    def attach(self, wanted: ServerAttachment) -> ServerAttachment:
        # A request whose answer was lost may have had its effect: each attempt looks first.
        return self._waiter.retry(lambda: self._attached(wanted))

    def _attached(self, wanted: ServerAttachment) -> ServerAttachment:
        if not self._settled(wanted.server_id, wanted.volume_id):
            self._require_one_project(wanted)
            self._request(wanted)
            if not self._settled(wanted.server_id, wanted.volume_id):
                raise UnexpectedStateError(f"cannot {_attaching(wanted)}: Nova gave up", hint=_GIVEN_UP_HINT)
        return self._get(wanted.server_id, wanted.volume_id)

    def _require_one_project(self, wanted: ServerAttachment) -> None:
        """Nova would let an administrator attach anybody's volume to anybody's server."""
        volume = self._cloud.get_volume(wanted.volume_id)
        if self._server(wanted.server_id)["tenant_id"] != volume.project_id:
            raise UnexpectedStateError(f"cannot {_attaching(wanted)}: they are of different projects")

    def _request(self, wanted: ServerAttachment) -> None:
        try:
            self._post(wanted)
        except (ResourceMissingError, CloudUnavailableError):
            raise
        except CloudError as error:
            if wanted.device is None:
                raise
            # Names are given out anew when a server starts, and some hypervisors take no wishes.
            _LOG.info("trying without the name of the device server=%s error=%s", wanted.server_id, error)
            self._post(replace(wanted, device=None))

    def _post(self, wanted: ServerAttachment) -> None:
        body: Json = {"volumeId": wanted.volume_id}
        if wanted.device is not None:
            body["device"] = wanted.device
        if wanted.tag is not None:
            body["tag"] = wanted.tag
        if wanted.delete_on_termination:
            body["delete_on_termination"] = True
        self._api.post(_path(wanted.server_id), {"volumeAttachment": body}, _attaching(wanted))

    def _settled(self, server_id: str, volume_id: str) -> bool:
        """Whether the server has the volume, once Nova and Cinder agree on it."""
        bond = self._waiter.while_in(
            lambda: self._bond(server_id, volume_id),
            _CHANGING,
            what=Resource("volume", volume_id, f"of server {server_id}"),
            seconds=self._waiter.pace.settle,
        )
        return bond is not None

    def _bond(self, server_id: str, volume_id: str) -> _Bond | None:
        status = self._cloud.get_volume(volume_id).status  # first: it is the last to come to rest
        in_cinder = [one for one in self._cloud.attachments(volume_id) if one.server_id == server_id]
        in_nova = self._find(server_id, volume_id)
        if in_nova is None and not in_cinder:
            return None
        agreed = in_nova is not None and bool(in_cinder) and status not in ("attaching", "detaching")
        complete = status != "reserved" and all(one.status == "attached" for one in in_cinder)
        settled = agreed and (complete or self._is_shelved(server_id))
        return _Bond(volume_id, "attached" if settled else "changing")

    def _is_shelved(self, server_id: str) -> bool:
        """On no host: its volumes stay reserved until it is on one again."""
        return bool(self._server(server_id)["status"] == "SHELVED_OFFLOADED")

    def _server(self, server_id: str) -> Mapping[str, Any]:
        server: Mapping[str, Any] = self._api.get(f"/servers/{server_id}", f"read server {server_id}")["server"]
        return server

    def _find(self, server_id: str, volume_id: str) -> ServerAttachment | None:
        try:
            return self._get(server_id, volume_id)
        except ResourceMissingError:
            return None

    def _get(self, server_id: str, volume_id: str) -> ServerAttachment:
        doing = f"read how server {server_id} has volume {volume_id}"
        return _attachment_from(self._api.get(_path(server_id, volume_id), doing)["volumeAttachment"])


def _path(server_id: str, *volume_id: str) -> str:
    return "/".join((f"/servers/{server_id}/os-volume_attachments", *volume_id))


def _attaching(wanted: ServerAttachment) -> str:
    return f"attach volume {wanted.volume_id} to server {wanted.server_id}"


def _attachment_from(record: Mapping[str, Any]) -> ServerAttachment:
    """An attachment of Nova's; older ones tell neither tag nor what happens at the end."""
    return ServerAttachment(
        server_id=record["serverId"],
        volume_id=record["volumeId"],
        device=record.get("device"),
        tag=record.get("tag"),
        delete_on_termination=bool(record.get("delete_on_termination")),
    )
