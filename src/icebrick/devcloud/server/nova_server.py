"""What of Nova a volume meets, in one process: API, conductor, scheduler, placement, and a compute host whose
hypervisor is Nova's own fake one. Its servers run nothing; what Nova does to their volumes in Cinder is the real thing.
"""

# ruff: noqa: E402 - Nova must be told not to patch the standard library before anything else is imported
from __future__ import annotations

import os

os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"
from nova import monkey_patch

monkey_patch.patch(backend="threading")

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import nova.conf
import prompt_messages
import serving
import sqlite_sharing
from nova import config, context, objects, service
from nova.api.openstack import wsgi_app  # noqa: F401 - makes the API's objects known
from nova.compute import rpcapi as compute_rpc
from nova.conductor import rpcapi as conductor_rpc
from nova.db import migration
from nova.objects import host_mapping
from nova.scheduler import rpcapi as scheduler_rpc
from nova.virt import fake
from oslo_config import cfg
from oslo_log import log as logging
from paste import deploy
from placement import conf as placement_options
from placement import db_api as placement_database
from placement import deploy as placement_deploy
from placement import wsgi as placement_wsgi
from werkzeug.middleware.dispatcher import DispatcherMiddleware

CONF = nova.conf.CONF
DATABASES = ("nova", "nova_api", "nova_cell0", "placement")


def configure(directory: Path) -> None:
    config.parse_args(["nova", "--config-file", str(directory / "nova.conf")])
    logging.setup(CONF, "nova")
    objects.register_all()


def migrate(directory: Path) -> None:
    """Make the databases and the cells: one for servers, and the one that Nova wants for those it could not place."""
    for name in DATABASES:
        sqlite_sharing.use_write_ahead_log(str(directory / f"{name}.db"))
    sqlite_sharing.share_database()
    migration.db_sync(database="api")
    migration.db_sync(database="main")
    admin = context.get_admin_context()
    known = {cell.name for cell in objects.CellMappingList.get_all(admin)}
    if "cell0" not in known:
        _map_cell(admin, "cell0", objects.CellMapping.CELL0_UUID, "none:///", f"{directory}/nova_cell0.db")
    if "cell1" not in known:
        _map_cell(admin, "cell1", "ce110000-0000-4000-8000-000000000001", "fake:///", f"{directory}/nova.db")
        _make_flavor(admin)


def _map_cell(admin: context.RequestContext, name: str, uuid: str, transport: str, database: str) -> None:
    connection = f"sqlite:///{database}?timeout=60"
    cell = objects.CellMapping(
        admin, uuid=uuid, name=name, transport_url=transport, database_connection=connection, disabled=False
    )
    with context.target_cell(admin, cell) as inside:
        migration.db_sync(database="main", context=inside)
    cell.create()  # last: a cell that is known has its tables


def _make_flavor(admin: context.RequestContext) -> None:
    objects.Flavor(
        admin,
        name="tiny",
        flavorid="1",
        memory_mb=64,
        vcpus=1,
        root_gb=0,
        ephemeral_gb=0,
        swap=0,
        rxtx_factor=1.0,
        vcpu_weight=0,
        disabled=False,
        is_public=True,
        extra_specs={},
    ).create()


def start_services() -> None:
    """The conductor first: the others ask it. The compute host last, when there is somebody to report to."""
    for binary, topics in (
        ("nova-conductor", {"topic": conductor_rpc.RPC_TOPIC}),
        ("nova-scheduler", {"topic": scheduler_rpc.RPC_TOPIC}),
        ("nova-compute", {"topic": compute_rpc.RPC_TOPIC, "topic_alt": compute_rpc.RPC_TOPIC_ALT}),
    ):
        service.Service.create(binary=binary, **topics).start()
    host_mapping.discover_hosts(context.get_admin_context())


def connector_of(driver: fake.FakeDriver, instance: object) -> dict:
    """What Cinder is told of the host that connects; the fake hypervisor's own is refused by an iSCSI target."""
    initiator = f"iqn.1993-08.org.debian:01:{driver._host}"
    return {"ip": CONF.my_block_storage_ip, "initiator": initiator, "host": driver._host}


def placement(directory: Path) -> Callable:
    """Placement's application, on options of its own: it does not share Nova's."""
    options = cfg.ConfigOpts()
    placement_options.register_opts(options)
    placement_wsgi._set_middleware_defaults()
    options([], project="placement", default_config_files=[str(directory / "placement.conf")])
    placement_database.configure(options)
    return placement_deploy.loadapp(options)


def no_networks(environ: dict, start_response: Callable) -> Iterable[bytes]:
    """In Neutron's place, which Nova asks even about servers without networks: there is nothing of any kind."""
    kind = environ["PATH_INFO"].rpartition("/")[2].replace("-", "_")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({kind: []}).encode()]


def main() -> None:
    arguments = serving.parse_arguments("Nova of a devcloud")
    serving.die_with(arguments.owner)
    sys.argv = sys.argv[:1]
    directory = Path(arguments.directory)
    configure(directory)
    prompt_messages.deliver_at_once()
    fake.FakeDriver.get_volume_connector = connector_of
    migrate(directory)
    nova_api = deploy.loadapp(f"config:{CONF.wsgi.api_paste_config}", name="osapi_compute")
    parts = {"/placement": placement(directory), "/network": no_networks}
    application = DispatcherMiddleware(nova_api, parts)
    # The compute host reports to placement while it starts, so this must answer already; ready is when all is.
    serving.serve(application, arguments, start=start_services)


if __name__ == "__main__":
    main()
