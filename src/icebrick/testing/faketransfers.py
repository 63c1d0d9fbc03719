"""Cinder's volume transfers in memory; a part of FakeCloud, which counts the calls and holds the lock."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from icebrick.cloud.base import Transfer
from icebrick.errors import CloudError, ResourceMissingError
from icebrick.secret import Secret
from icebrick.testing.fakerecords import FakeRecords, FakeView, require


@dataclass(frozen=True, slots=True)
class FakeTransfers:
    """What one login sees of them, and may do."""

    view: FakeView

    @property
    def _records(self) -> FakeRecords:
        return self.view.records

    def where(self, chosen: Callable[[str], bool]) -> list[Transfer]:
        """Those of the chosen project ids' volumes."""
        return [replace(each, key=None) for each in self._records.transfers.values() if chosen(self._project(each))]

    def create(self, volume_id: str, *, name: str) -> Transfer:
        volume = self.view.volume(volume_id)
        require(volume.status == "available", f"cannot transfer volume {volume_id}: it is {volume.status}")
        made = Transfer(str(uuid.uuid4()), name, volume_id, Secret(secrets.token_hex(8)))
        self._records.transfers[made.id] = made
        self._records.change_volume(volume_id, status="awaiting-transfer")
        return made

    def accept(self, transfer: Transfer) -> None:
        offered = self._records.transfers.get(transfer.id)
        if offered is None:
            raise ResourceMissingError(f"transfer {transfer.id} could not be found")
        if offered.key is None or transfer.key is None or offered.key.reveal() != transfer.key.reveal():
            raise CloudError(f"cannot accept transfer {transfer.id}: the key is wrong")
        volume = self._records.volumes[offered.volume_id]
        taken = [s for s in self._records.snapshots.values() if s.volume_id == volume.id]
        self.view.charge(volume.size + sum(snapshot.size for snapshot in taken))
        mine = self.view.project.id
        self._records.change_volume(volume.id, project_id=mine, status="available")
        self._records.snapshots |= {snapshot.id: replace(snapshot, project_id=mine) for snapshot in taken}
        del self._records.transfers[transfer.id]

    def delete(self, transfer_id: str) -> None:
        offered = self._records.transfers.get(transfer_id)
        if offered is not None and self.view.sees(self._project(offered)):
            del self._records.transfers[transfer_id]
            self._records.change_volume(offered.volume_id, status="available")

    def _project(self, transfer: Transfer) -> str:
        return self._records.volumes[transfer.volume_id].project_id
