"""All of Cinder in one process: API, scheduler and volume service, on native threads and an in-memory transport."""

# ruff: noqa: E402 - Cinder must be told not to patch the standard library before anything else is imported
from __future__ import annotations

import os

os.environ["OS_CINDER_DISABLE_EVENTLET_PATCHING"] = "1"
from cinder import monkey_patch

monkey_patch.patch()

import logging as standard_logging
import sys
import threading
import time
from pathlib import Path

from cinder import i18n

i18n.enable_lazy()

import cinder.cmd.volume  # noqa: F401 - registers the volume service's options
import light_commands
import prompt_messages
import serving
import sqlite_sharing
from cinder import context, coordination, objects, rpc, service, version
from cinder.common import config, constants
from cinder.db import api as database
from cinder.db import migration
from cinder.volume import group_types, volume_types
from oslo_config import cfg
from oslo_log import log as logging
from oslo_service import wsgi

CONF = cfg.CONF
_heartbeat = threading.Lock()


class Service(service.Service):
    """A service whose heartbeat goes to its own row.

    Cinder keeps the row's id on the class: of two services in one process, both would keep the last one alive.
    """

    def report_state(self) -> None:
        with _heartbeat:
            service.Service.service_id = self.origin_service_id
            super().report_state()


def configure(directory: Path) -> None:
    objects.register_all()
    CONF(["--config-file", str(directory / "cinder.conf")], project="cinder", version=version.version_string())
    config.set_middleware_defaults()
    logging.setup(CONF, "cinder")
    standard_logging.captureWarnings(capture=True)


def migrate(directory: Path) -> None:
    sqlite_sharing.use_write_ahead_log(str(directory / "cinder.db"))
    sqlite_sharing.share_database()
    migration.db_sync()


def seed() -> None:
    """Two types of groups: snapshots of one instant, or of each member for itself; encrypted types, if there are keys.

    Volume type `__DEFAULT__` is made by the migrations.
    """
    admin = context.get_admin_context()
    if CONF.key_manager.backend == "barbican":
        seed_encrypted_types(admin)
    there = group_types.get_all_group_types(admin, filters={"is_public": True})
    wanted = {"consistent": {"consistent_group_snapshot_enabled": "<is> True"}, "independent": {}}
    for name in wanted.keys() - there.keys():
        group_types.create(admin, name, wanted[name])


def seed_encrypted_types(admin: context.RequestContext) -> None:
    """One of each version of LUKS, encrypted by the hosts that attach the volumes."""
    there = volume_types.get_all_types(admin)
    for provider in {"luks", "luks2"} - there.keys():
        made = volume_types.create(admin, provider)
        how = {
            "provider": provider,
            "cipher": "aes-xts-plain64",
            "key_size": 256,
            "control_location": "front-end",
        }
        database.volume_type_encryption_create(admin, made["id"], how)


def start_services() -> None:
    """Start the scheduler, then the volume services.

    The scheduler waits for the first report of a volume service, in whole seconds, up to a minute. It only hears
    it when it listens already: so it starts first, in a thread, and the others as soon as it listens.
    """
    volumes = [_volume_service(backend) for backend in CONF.enabled_backends]
    scheduler = Service.create(binary=constants.SCHEDULER_BINARY)
    threading.Thread(target=scheduler.start, name="scheduler-start", daemon=True).start()
    while vars(scheduler).get("rpcserver") is None:
        time.sleep(0.005)
    for volume in volumes:
        volume.start()


def _volume_service(backend: str) -> Service:
    CONF.register_opt(cfg.StrOpt("backend_host"), group=backend)
    host = f"{CONF.host}@{backend}"
    return Service.create(host=host, service_name=backend, binary=constants.VOLUME_BINARY, coordination=True)


def main() -> None:
    arguments = serving.parse_arguments("Cinder of a devcloud")
    serving.die_with(arguments.owner)
    sys.argv = sys.argv[:1]
    directory = Path(arguments.directory)
    configure(directory)
    migrate(directory)
    coordination.COORDINATOR.start()
    prompt_messages.deliver_at_once()
    light_commands.start_commands_lightly()
    rpc.init(CONF)
    start_services()
    seed()
    serving.serve(wsgi.Loader(CONF).load_app(name="osapi_volume"), arguments)


if __name__ == "__main__":
    main()
