"""Cinder's volume transfers: a part of CinderCloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from icebrick.cloud.api import RestApi
from icebrick.cloud.base import Transfer
from icebrick.errors import CloudError
from icebrick.secret import Secret


class CinderTransfers:
    """Of one login; what each method promises is said in `Cloud`."""

    def __init__(self, api: RestApi) -> None:
        self._api = api

    def transfers(self, *, of_all: bool) -> Sequence[Transfer]:
        scope = {"all_tenants": "1"} if of_all else {}
        records = self._api.list_all("/volume-transfers/detail", "transfers", "list transfers", **scope)
        return [_transfer_from(record) for record in records]

    def create(self, volume_id: str, *, name: str) -> Transfer:
        body = {"transfer": {"volume_id": volume_id, "name": name}}
        return _transfer_from(self._api.post("/volume-transfers", body, f"transfer volume {volume_id}")["transfer"])

    def accept(self, transfer: Transfer) -> None:
        doing = f"accept transfer {transfer.id} of volume {transfer.volume_id}"
        if transfer.key is None:
            raise CloudError(f"cannot {doing}: it has no key")
        body = {"accept": {"auth_key": transfer.key.reveal()}}
        self._api.post(f"/volume-transfers/{transfer.id}/accept", body, doing)

    def delete(self, transfer_id: str) -> None:
        self._api.delete(f"/volume-transfers/{transfer_id}", f"delete transfer {transfer_id}")


def _transfer_from(record: Mapping[str, Any]) -> Transfer:
    key = record.get("auth_key")
    return Transfer(record["id"], record.get("name") or "", record["volume_id"], Secret(key) if key else None)
