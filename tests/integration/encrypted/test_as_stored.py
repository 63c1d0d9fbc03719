"""Encrypted volumes with the real Cinder and Barbican, as they are stored."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tests.integration.agent import MIB, Agent
from tests.integration.encrypted.luks import backed_up, key_of, opens, read, stored, write

from icebrick.attach.brick import BrickConnector
from icebrick.cloud.cinder import CinderCloud
from icebrick.devcloud.devcloud import Devcloud


def test_encrypted_data_go_out_and_come_back_as_they_are_stored(
    agent: Agent,
    cloud: CinderCloud,
    connector: BrickConnector,
    volume_id: str,
    login: Callable[..., Any],
    devcloud: Devcloud,
) -> None:
    data = os.urandom(MIB)
    with stored(cloud, connector, volume_id) as device:
        write(device, 32 * MIB, data)
    old = key_of(cloud, volume_id)
    saved = backed_up(agent, volume_id, "--encrypted-volumes", "as-stored")
    assert (saved["encryption"]["form"], saved["encryption"]["encryption"]["key_id"]) == (
        "as-stored",
        old.encryption.key_id,
    )

    copy = agent.restore(volume_id, "--verify")
    assert (copy["way"], copy["encryption"]["needed_key_id"]) == ("copy", None)
    with stored(cloud, connector, copy["volume_id"]) as device:
        assert opens(device, key_of(cloud, copy["volume_id"]))
        assert read(device, 32 * MIB, MIB) == data

    # A new volume, while the old one's key can still be had.
    admin = login(devcloud, "anna")
    assert admin.request("POST", f"/volumes/{volume_id}/action", {"os-reset_status": {"status": "error"}})[0] == 202
    new = agent.restore(volume_id, "--verify", "--recreate-vol-on-error")
    assert (new["way"], new["encryption"]["needed_key_id"]) == ("new", None)
    with stored(cloud, connector, new["volume_id"]) as device:
        assert opens(device, key_of(cloud, new["volume_id"]))
        assert not opens(device, old)
        assert read(device, 32 * MIB, MIB) == data

    # And when Cinder has deleted it with its volume.
    cloud.delete_volume(volume_id)
    told = agent.restore(volume_id)
    assert told["encryption"]["needed_key_id"] == old.encryption.key_id
    with stored(cloud, connector, told["volume_id"]) as device:
        assert opens(device, old)
