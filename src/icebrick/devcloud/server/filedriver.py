"""A small but real Cinder volume driver: volumes are files, shown to the host as loop devices or as they are.

Connections are of type "local". os-brick does nothing for that type, so the driver itself makes the loop device
when a connection begins and removes it when the last connection of its mode ends. Only hosts that are this host
can use it.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import loopdevices
from cinder import context as cinder_context
from cinder import interface
from cinder.objects import fields
from cinder.volume import configuration, driver, volume_utils
from filestore import FileStore
from operations import Operations, operation
from oslo_config import cfg
from oslo_utils import units

OPTIONS = [
    cfg.StrOpt("filedriver_directory", help="where the fault rules and the operations log are"),
    cfg.StrOpt("filedriver_pool", help="where the volumes are; best on btrfs or xfs"),
    cfg.StrOpt("filedriver_export", default="loop", choices=["loop", "file"], help="what the host gets to see"),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


@interface.volumedriver
class FileDriver(driver.VolumeDriver):
    """See the module."""

    VERSION = "1.0.0"
    CI_WIKI_NAME = "none"

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self._connecting = threading.Lock()  # one loop device a volume and mode: no two threads may make it
        self._shown = {}  # by volume id: the file of another, where a fault wants that

    @staticmethod
    def get_driver_options():
        return OPTIONS

    def do_setup(self, context) -> None:
        self.operations = Operations(Path(self.configuration.filedriver_directory))
        self.store = FileStore(Path(self.configuration.filedriver_pool))
        self.store.open()

    def check_for_setup_error(self) -> None:
        """`do_setup` has made its folders: nothing more can be wrong."""

    def _update_volume_stats(self) -> None:
        total, free, provisioned = (round(size / units.Gi, 2) for size in self.store.usage())
        pool = {
            "pool_name": "pool",
            "total_capacity_gb": total,
            "free_capacity_gb": free,
            "provisioned_capacity_gb": provisioned,
            "max_over_subscription_ratio": 1000.0,
            "reserved_percentage": 0,
            "thin_provisioning_support": True,
            "thick_provisioning_support": False,
            "QoS_support": False,
            "multiattach": True,
            "consistent_group_snapshot_enabled": self.store.freezes(),
        }
        self._stats = {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name"),
            "vendor_name": "Icebrick",
            "driver_version": self.VERSION,
            "storage_protocol": "local",
            "pools": [pool],
        }

    # Volumes and volume snapshots

    def _path(self, volume) -> Path:
        return self.store.volume(volume.name)

    def _snapshot_path(self, snapshot) -> Path:
        return self.store.snapshot(snapshot.name)

    @operation
    def create_volume(self, volume) -> None:
        self.store.create(self._path(volume), volume.size * units.Gi)

    @operation
    def create_volume_from_snapshot(self, volume, snapshot) -> None:
        self.store.copy(self._snapshot_path(snapshot), self._path(volume), size=volume.size * units.Gi)

    @operation
    def create_cloned_volume(self, volume, src_vref) -> None:
        loopdevices.flush(self._path(src_vref))
        self.store.copy(self._path(src_vref), self._path(volume), size=volume.size * units.Gi)

    @operation
    def extend_volume(self, volume, new_size) -> None:
        with self._path(volume).open("r+b") as file:
            file.truncate(new_size * units.Gi)
        loopdevices.adopt_size(self._path(volume))

    @operation
    def delete_volume(self, volume) -> None:
        loopdevices.detach(self._path(volume))
        self._path(volume).unlink(missing_ok=True)

    @operation
    def create_snapshot(self, snapshot) -> None:
        source = self._path(snapshot.volume)
        loopdevices.flush(source)
        self.store.copy(source, self._snapshot_path(snapshot))

    @operation
    def delete_snapshot(self, snapshot) -> None:
        self._snapshot_path(snapshot).unlink(missing_ok=True)

    @operation
    def revert_to_snapshot(self, context, volume, snapshot) -> None:
        self.store.copy(self._snapshot_path(snapshot), self._path(volume), size=volume.size * units.Gi)

    # Connections

    def create_export(self, context, volume, connector) -> None:
        """A connection makes all that is needed."""

    def ensure_export(self, context, volume) -> None:
        """Loop devices outlive this service."""

    def remove_export(self, context, volume) -> None:
        """Ending the connection has removed all."""

    def create_export_snapshot(self, context, snapshot, connector) -> None:
        """Volume snapshots are not shown to hosts."""

    def remove_export_snapshot(self, context, snapshot) -> None:
        """Volume snapshots are not shown to hosts."""

    @operation
    def initialize_connection(self, volume, connector, **kwargs) -> dict:
        readonly = self._wants_readonly(volume, connector)
        if other := self.operations.mistaken("initialize_connection", volume):
            self._shown[volume.id] = self._path(self.db.volume_get(cinder_context.get_admin_context(), other))
        path = self._shown.get(volume.id) or self._path(volume)
        device = str(path)
        if self.configuration.filedriver_export == "loop":
            with self._connecting:
                device = loopdevices.attach(path, readonly=readonly)
        data = {"device_path": device, "access_mode": "ro" if readonly else "rw", "volume_id": volume.id}
        return {"driver_volume_type": "local", "data": data}

    @operation
    def terminate_connection(self, volume, connector, **kwargs) -> bool:
        """Remove the loop device; True if another attachment still uses it. Without a connector: remove all."""
        if self.configuration.filedriver_export == "file":
            return False
        with self._connecting:
            path = self._shown.pop(volume.id, None) or self._path(volume)
            if connector is None:
                loopdevices.detach(path)
                return False
            readonly = self._wants_readonly(volume, connector)
            if self._connections(volume, readonly=readonly) > 1:  # this one is still among them
                return True
            loopdevices.detach(path, readonly=readonly)
        return False

    def _wants_readonly(self, volume, connector) -> bool:
        """Asked for by the host, or the volume's read-only flag; only an admin's context would load the latter."""
        if connector.get("mode") == "ro":
            return True
        metadata = self.db.volume_admin_metadata_get(cinder_context.get_admin_context(), volume.id)
        return metadata.get("readonly") == "True"

    def _connections(self, volume, *, readonly: bool) -> int:
        volume.refresh()
        connectors = [item.connector or {} for item in volume.volume_attachment if item.connection_info]
        return sum(self._wants_readonly(volume, connector) == readonly for connector in connectors)

    # Groups

    def create_group(self, context, group) -> dict:
        return {"status": fields.GroupStatus.AVAILABLE}

    def update_group(self, context, group, add_volumes=None, remove_volumes=None) -> tuple:
        return None, None, None

    def delete_group(self, context, group, volumes) -> tuple:
        for volume in volumes:
            self.delete_volume(volume)
        return (
            {"status": fields.GroupStatus.DELETED},
            [{"id": volume.id, "status": fields.GroupStatus.DELETED} for volume in volumes],
        )

    @operation
    def create_group_snapshot(self, context, group_snapshot, snapshots) -> tuple:
        if not volume_utils.is_group_a_cg_snapshot_type(group_snapshot):
            raise NotImplementedError  # Cinder then snapshots one volume after the other
        for snapshot in snapshots:
            loopdevices.flush(self._path(snapshot.volume))
        with contextlib.ExitStack() as undo, self.store.frozen(group_snapshot.id) as volumes:
            for snapshot in snapshots:
                target = self._snapshot_path(snapshot)
                self.store.copy(volumes / snapshot.volume.name, target)
                undo.callback(target.unlink)
            undo.pop_all()  # all are there: keep them
        status = fields.SnapshotStatus.AVAILABLE
        return {"status": status}, [{"id": snapshot.id, "status": status} for snapshot in snapshots]

    @operation
    def delete_group_snapshot(self, context, group_snapshot, snapshots) -> tuple:
        for snapshot in snapshots:
            self._snapshot_path(snapshot).unlink(missing_ok=True)
        status = fields.SnapshotStatus.DELETED
        return {"status": status}, [{"id": snapshot.id, "status": status} for snapshot in snapshots]

    @operation
    def create_group_from_src(  # noqa: PLR0913, PLR0917 - Cinder's signature
        self, context, group, volumes, group_snapshot=None, snapshots=None, source_group=None, source_vols=None
    ) -> tuple:
        sources = [self._snapshot_path(item) for item in snapshots] if snapshots else list(map(self._path, source_vols))
        for volume, source in zip(volumes, sources, strict=True):
            loopdevices.flush(source)
            self.store.copy(source, self._path(volume), size=volume.size * units.Gi)
        return None, None
