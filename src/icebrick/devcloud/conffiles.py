"""The configuration files of the servers."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

from icebrick.devcloud.accounts import REGION
from icebrick.devcloud.iscsi import target_prefix
from icebrick.devcloud.layout import Layout
from icebrick.devcloud.lvm import volume_group
from icebrick.devcloud.record import Record

_KEYSTONE = """\
[DEFAULT]
log_file = {directory}/keystone.log
debug = {debug}

[database]
connection = sqlite:///{directory}/keystone.db?timeout=60
sqlite_synchronous = false

[fernet_tokens]
key_repository = {directory}/fernet-keys

[fernet_receipts]
key_repository = {directory}/fernet-keys

[credential]
key_repository = {directory}/credential-keys

[identity]
# The default of 12 rounds costs a quarter of a second for each log-in.
password_hash_rounds = 4

[cache]
enabled = true
backend = dogpile.cache.memory
"""

_CINDER = """\
[DEFAULT]
host = devcloud
my_ip = 127.0.0.1
state_path = {directory}/cinder
log_file = {directory}/cinder.log
debug = {debug}
# API, scheduler and volume service are one process: messages need no broker.
transport_url = fake://
auth_strategy = keystone
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = {cinder_port}
osapi_max_limit = {page_size}
api_paste_config = {etc}/api-paste.ini
resource_query_filters_file = {etc}/resource_filters.json
rootwrap_config = {etc}/rootwrap.conf
enabled_backends = {storage}
# A quick start, and statistics that follow what happens.
scheduler_driver_init_wait_time = 5
periodic_fuzzy_delay = 0
report_interval = 5
service_down_time = 60
backend_stats_polling_interval = 10
# With one back end a second attempt meets the same fault, or hides one that was to come once.
scheduler_max_attempts = 1
# Room for tests in parallel; the defaults are 10 volumes, 10 snapshots and 1000 GB.
quota_volumes = 200
quota_snapshots = 200
quota_gigabytes = 4000
quota_groups = 50

[database]
connection = sqlite:///{directory}/cinder.db?timeout=60
sqlite_synchronous = false

[oslo_concurrency]
lock_path = {directory}/cinder/locks

[oslo_messaging_notifications]
driver = noop

{key_manager}
{back_end}
[keystone_authtoken]
www_authenticate_uri = {keystone_url}
{login}# A service token lets a test end an attachment that belongs to a server.
service_token_roles = service
service_token_roles_required = true
"""

_FILES = """\
[files]
volume_driver = filedriver.FileDriver
volume_backend_name = files
filedriver_directory = {directory}
filedriver_pool = {directory}/pool
filedriver_export = {export}
"""

_LVM = """\
[lvm]
volume_driver = lvmdriver.LVMDriver
volume_backend_name = lvm
lvmdriver_directory = {directory}
volume_group = {volume_group}
lvm_type = thin
lvm_suppress_fd_warnings = true
max_over_subscription_ratio = 1000
# The driver sets its own helper, for LIO.
target_helper = fake
target_protocol = iscsi
target_prefix = {target_prefix}
target_ip_address = 127.0.0.1
target_secondary_ip_addresses = {further_addresses}
"""

_FIXED_KEY = """\
[key_manager]
# Encrypted volume types work without Barbican; nothing secret is ever encrypted with this key.
backend = cinder.keymgr.conf_key_mgr.ConfKeyManager
fixed_key = {fixed_key}
"""

_KEYS_OF_BARBICAN = """\
[key_manager]
backend = barbican

[barbican]
auth_endpoint = {keystone_url}
barbican_endpoint = {barbican_root}
barbican_api_version = v1
"""

_BARBICAN = """\
[DEFAULT]
log_file = {directory}/barbican.log
debug = {debug}
host_href = {barbican_root}
db_auto_create = true

[database]
connection = sqlite:///{directory}/barbican.db?timeout=60
sqlite_synchronous = false

[secretstore]
enabled_secretstore_plugins = store_crypto

[crypto]
enabled_crypto_plugins = simple_crypto

[simple_crypto_plugin]
kek = {master_key}

[oslo_messaging_notifications]
driver = noop

[keystone_authtoken]
www_authenticate_uri = {keystone_url}
{login}"""

_NOVA = """\
[DEFAULT]
host = devcloud
my_ip = 127.0.0.1
state_path = {directory}/nova
log_file = {directory}/nova.log
debug = {debug}
# API, conductor, scheduler and compute host are one process: messages need no broker.
transport_url = fake:///
# The fake one that is the same host after a new start.
compute_driver = fake.FakeDriverWithoutFakeNodes
report_interval = 5
# Its servers change by requests only. Nothing is to be put right from time to time, nor after a new start.
periodic_enable = false

[wsgi]
api_paste_config = {etc}/api-paste.ini

[database]
connection = sqlite:///{directory}/nova.db?timeout=60
sqlite_synchronous = false

[api_database]
connection = sqlite:///{directory}/nova_api.db?timeout=60
sqlite_synchronous = false

[oslo_concurrency]
lock_path = {directory}/nova/locks

[oslo_messaging_notifications]
driver = noop

[placement]
auth_type = admin_token
endpoint = {root}/placement
token = admin

[glance]
# Nobody answers there, and nobody is asked: servers start from volumes. Nova only wants to know where it would be.
endpoint_override = {root}/image

[neutron]
endpoint_override = {root}/network
{login}
[cinder]
endpoint_template = {cinder_url}
{login}
[service_user]
# What lets Nova, and nobody else, end a server's attachment.
send_service_user_token = true
{login}
[keystone_authtoken]
www_authenticate_uri = {keystone_url}
{login}"""

_LOGIN = """\
auth_url = {keystone_url}
auth_type = password
user_domain_name = Default
project_domain_name = Default
project_name = service
username = {user}
password = {password}
region_name = {region}
"""

_PLACEMENT = """\
[api]
# Nova alone asks it, in its own process.
auth_strategy = noauth2

[placement_database]
connection = sqlite:///{directory}/placement.db?timeout=60
sqlite_synchronous = false
sync_on_startup = true
"""


def keystone_conf(layout: Layout, record: Record) -> str:
    return _KEYSTONE.format(directory=layout.directory, debug=str(record.settings.debug).lower())


def cinder_conf(layout: Layout, record: Record, environment: Path) -> str:
    """`environment` is the virtual environment that Cinder is installed in."""
    return _CINDER.format(
        directory=layout.directory,
        debug=str(record.settings.debug).lower(),
        etc=environment / "etc" / "cinder",
        storage=record.settings.storage,
        back_end=_back_end(layout, record),
        page_size=record.settings.page_size,
        cinder_port=record.cinder_port,
        keystone_url=record.keystone_url,
        login=_login("cinder", record),
        key_manager=_key_manager(record),
    )


def _back_end(layout: Layout, record: Record) -> str:
    if record.settings.storage == "files":
        return _FILES.format(directory=layout.directory, export=record.settings.export)
    return _LVM.format(
        directory=layout.directory,
        volume_group=volume_group(layout.directory),
        target_prefix=target_prefix(layout.directory),
        further_addresses=",".join(f"127.0.0.{number}" for number in range(2, record.settings.portals + 1)),
    )


def _key_manager(record: Record) -> str:
    """Where Cinder has the keys of encrypted volumes."""
    if record.barbican_port is None:
        return _FIXED_KEY.format(fixed_key="00" * 32)
    return _KEYS_OF_BARBICAN.format(keystone_url=record.keystone_url, barbican_root=record.barbican_root)


def barbican_conf(layout: Layout, record: Record) -> str:
    password = record.password.reveal()
    return _BARBICAN.format(
        directory=layout.directory,
        debug=str(record.settings.debug).lower(),
        keystone_url=record.keystone_url,
        barbican_root=record.barbican_root,
        login=_login("barbican", record),
        master_key=urlsafe_b64encode(sha256(password.encode()).digest()).decode(),
    )


def nova_conf(layout: Layout, record: Record, environment: Path) -> str:
    """`environment` is the virtual environment that Nova is installed in."""
    return _NOVA.format(
        directory=layout.directory,
        debug=str(record.settings.debug).lower(),
        etc=environment / "etc" / "nova",
        root=record.nova_root,
        cinder_url=record.cinder_url,
        keystone_url=record.keystone_url,
        login=_login("nova", record),
    )


def _login(user: str, record: Record) -> str:
    """How a service of that user logs in to Keystone."""
    password = record.password.reveal()
    return _LOGIN.format(keystone_url=record.keystone_url, user=user, password=password, region=REGION)


def placement_conf(layout: Layout) -> str:
    return _PLACEMENT.format(directory=layout.directory)
