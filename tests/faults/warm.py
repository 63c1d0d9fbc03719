"""Imports what commands import, once: processes are forked off the one that has done it, before it has any thread."""

from __future__ import annotations

import importlib
import warnings

_MODULES = (
    "openstack",
    "keystoneauth1.identity.v3",
    "os_brick.privileged",
    "os_brick.initiator.connector",
    "os_brick.initiator.connectors.iscsi",
    "os_brick.initiator.connectors.local",
    "oslo_concurrency.processutils",
    "icebrick.cli.backup",
    "icebrick.cli.restore",
    "icebrick.cli.cleanup",
    "tests.faults.stepping",
)

with warnings.catch_warnings(action="ignore"):  # of libraries, about parts of themselves
    for _module in _MODULES:
        importlib.import_module(_module)
