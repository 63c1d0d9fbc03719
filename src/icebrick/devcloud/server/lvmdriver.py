"""Cinder's own LVM driver, thin volumes over iSCSI by LIO, with the operations log and the faults of a devcloud.

Two ways of getting at root's rights are left out, as a devcloud's Cinder is root: the privileged helper process, and
`cinder-rtstool`, a program that would import Cinder anew for each change of a target. Its code runs here instead.
"""

from __future__ import annotations

from pathlib import Path

from cinder import interface, utils
from cinder.cmd import rtstool
from cinder.privsep import sys_admin_pctxt
from cinder.volume import configuration
from cinder.volume.drivers import lvm
from cinder.volume.targets import lio
from operations import Operations, operation
from oslo_config import cfg
from rtslib_fb import root

DATABASE = Path("/etc/target")
"""Where rtslib lets the kernel keep what targets remember; it must be there, and ours remember nothing."""
OPTIONS = [cfg.StrOpt("lvmdriver_directory", help="where the fault rules and the operations log are")]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


class LioInProcess(lio.LioAdm):
    """Targets are not written down: they go with the devcloud."""

    @staticmethod
    @utils.synchronized("lioadm", external=True)
    def _execute(program, action, *args, **kwargs):
        if action == "get-targets":
            return "\n".join(target.wwn for target in root.RTSRoot().targets), ""
        if action not in ("save", "restore"):
            rtstool.main([program, action, *map(str, args)])
        return "", ""

    def _verify_rtstool(self) -> None:
        rtstool.verify_rtslib()


@interface.volumedriver
class LVMDriver(lvm.LVMVolumeDriver):
    """See the module."""

    CI_WIKI_NAME = "none"

    def __init__(self, *args, **kwargs) -> None:
        sys_admin_pctxt.set_client_mode(False)
        DATABASE.mkdir(exist_ok=True)
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.target_driver = LioInProcess(configuration=self.configuration, executor=self._execute)
        self.protocol = self.target_driver.protocol
        self.operations = Operations(Path(self.configuration.lvmdriver_directory))

    def _update_volume_stats(self) -> None:
        """Once: it takes seconds, is asked for after each change, and there is room for whatever a test makes."""
        if not self._stats:
            super()._update_volume_stats()

    create_volume = operation(lvm.LVMVolumeDriver.create_volume)
    create_volume_from_snapshot = operation(lvm.LVMVolumeDriver.create_volume_from_snapshot)
    create_cloned_volume = operation(lvm.LVMVolumeDriver.create_cloned_volume)
    extend_volume = operation(lvm.LVMVolumeDriver.extend_volume)
    delete_volume = operation(lvm.LVMVolumeDriver.delete_volume)
    create_snapshot = operation(lvm.LVMVolumeDriver.create_snapshot)
    delete_snapshot = operation(lvm.LVMVolumeDriver.delete_snapshot)
    initialize_connection = operation(lvm.LVMVolumeDriver.initialize_connection)
    terminate_connection = operation(lvm.LVMVolumeDriver.terminate_connection)
