"""Deleting the volume that was replaced; only that one, and never one that somebody may use."""

from __future__ import annotations

import logging

from icebrick.cloud.base import Cloud, Volume
from icebrick.errors import CloudError

log = logging.getLogger(__name__)


def hindrance(cloud: Cloud, volume: Volume) -> str | None:
    """Why it must not be deleted, behind "it"; None when it may be."""
    if not (volume.status == "available" or volume.status.startswith("error")):
        return f"is {volume.status}"
    if cloud.attachments(volume.id):
        return "is attached"
    if volume.group_id is not None:
        return f"is in group {volume.group_id}"
    snapshots = cloud.all_snapshots() if cloud.is_admin() else cloud.snapshots()
    count = sum(snapshot.volume_id == volume.id for snapshot in snapshots)
    return f"has {count} volume snapshot{'s' * (count > 1)}" if count else None


def remove_old(cloud: Cloud, volume_id: str) -> str | None:
    """Delete it; why that was not possible, None when it is gone."""
    try:
        volume = cloud.find_volume(volume_id)
        if volume is None:
            return None
        reason = hindrance(cloud, volume)
        if reason is not None:
            return f"it {reason}"
        cloud.delete_volume(volume_id)
    except CloudError as error:
        return str(error)
    log.info("removed replaced volume=%s", volume_id)
    return None
