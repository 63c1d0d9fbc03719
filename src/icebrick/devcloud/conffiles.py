"""The configuration files of the two servers."""

from __future__ import annotations

from pathlib import Path

from icebrick.devcloud.layout import Layout
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
enabled_backends = files
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

[key_manager]
# Encrypted volume types work without Barbican; nothing secret is ever encrypted with this key.
backend = cinder.keymgr.conf_key_mgr.ConfKeyManager
fixed_key = {fixed_key}

[files]
volume_driver = filedriver.FileDriver
volume_backend_name = files
filedriver_directory = {directory}
filedriver_pool = {directory}/pool
filedriver_export = {export}

[keystone_authtoken]
www_authenticate_uri = {keystone_url}
auth_url = {keystone_url}
auth_type = password
user_domain_name = Default
project_domain_name = Default
project_name = service
username = cinder
password = {password}
# A service token lets a test end an attachment that belongs to a server.
service_token_roles = service
service_token_roles_required = true
"""


def keystone_conf(layout: Layout, record: Record) -> str:
    return _KEYSTONE.format(directory=layout.directory, debug=str(record.settings.debug).lower())


def cinder_conf(layout: Layout, record: Record, environment: Path) -> str:
    """`environment` is the virtual environment that Cinder is installed in."""
    return _CINDER.format(
        directory=layout.directory,
        debug=str(record.settings.debug).lower(),
        etc=environment / "etc" / "cinder",
        export=record.settings.export,
        page_size=record.settings.page_size,
        cinder_port=record.cinder_port,
        keystone_url=record.keystone_url,
        password=record.password.reveal(),
        fixed_key="00" * 32,
    )
