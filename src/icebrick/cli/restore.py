"""icebrick restore"""

from __future__ import annotations

from pathlib import Path

import click

from icebrick.cli.command import command, refuse_all_but, said, settings_for, take_back
from icebrick.cli.invocation import this_invocation
from icebrick.cli.repository import lockless
from icebrick.cli.restore_volumes import restore_volumes
from icebrick.cli.target import restore_to_target
from icebrick.config.options import (
    DELETE_EXTRA,
    EXCLUDE,
    OVERWRITE,
    RESTORE,
    RESTORE_FROM_DATE,
    SINGLE_VOLUME_ID,
    SNAPSHOT,
    VERIFY,
)
from icebrick.engine.file.options import FileRestoreOptions
from icebrick.engine.file.select import select
from icebrick.errors import UsageError
from icebrick.workflow.request import TargetRequest
from icebrick.workflow.scope import Scope, ScopeKind

TARGET_OPTIONS = (SINGLE_VOLUME_ID, SNAPSHOT, RESTORE_FROM_DATE, VERIFY, OVERWRITE, DELETE_EXTRA)
"""Those that a restore without a cloud has too."""

EXAMPLES = """
icebrick -r main restore --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --verify
icebrick -r main restore --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --restore-from-date 2026-11-20
icebrick -r main restore --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --in-place --verify
icebrick -r main restore --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --remove-old-vol --yes
icebrick -r main --cloud prod restore --all-tenant-volumes --filter 'name=db-*' --restore-from-date 2026-11-20T06:00
icebrick -r main restore --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --to-cloud spare --map-type ssd=nvme
icebrick -r /srv/backup restore --snapshot 4f0b9f6e --target /srv/images/volume.raw
icebrick -r /srv/backup restore --image-name disk1 --target /dev/vg0/disk1 --force --verify --receipt disk1.json
icebrick -r /srv/backup restore --image-name disk1 --target - | zstd > disk1.raw.zst
icebrick -r /srv/backup restore --snapshot 4f0b9f6e --target /srv/web1 --verify
icebrick -r /srv/backup restore --snapshot 4f0b9f6e --target /srv/web1 --include /etc --include '*.pem' --exclude cache
"""


@command("restore", examples=EXAMPLES)
@settings_for(RESTORE)
@click.option("--image-name", metavar="NAME", help="Restore this image.")
@click.option("--host", metavar="HOST", help="The image of this host; needed when several have one of that name.")
@click.option(
    "--target",
    metavar="PATH|-",
    help="Without a cloud: restore to this file, device or standard output, or files to this directory.",
)
@click.option(
    "--include",
    metavar="PATTERN",
    multiple=True,
    help="With --target DIRECTORY: only files like this, and not those of an --exclude; repeatable.",
)
@click.option("--force", is_flag=True, help="Replace the target file, or overwrite the target device.")
@lockless
@click.option("--receipt", type=Path, metavar="FILE", help="Write what --verify found to this file, as JSON.")
def restore(
    image_name: str | None,
    host: str | None,
    target: str | None,
    include: tuple[str, ...],
    receipt: Path | None,
    *,
    force: bool,
) -> None:
    """Restore volumes in the cloud, or an image or files to this host.

    A volume that still exists is not changed: the backup is restored onto a copy of it, which needs only
    what differs. A volume that is gone is made again as it was. Either way the new volume's id is printed.
    With --in-place a volume that exists is written itself, and a volume snapshot of what it was is kept.

    Each volume goes back into its own project. Where the user has no role there, an administrator's volume
    is handed over by a volume transfer.

    With --target no cloud is needed: an image goes to a file or device, files to a directory. Patterns of files are
    those of 'icebrick find', but begin at the root of the volume's file system, as /etc/hosts.
    """
    exclude = () if target is None else take_back(EXCLUDE)
    invocation = this_invocation(stdout_is_data=target == "-")
    if receipt is not None and not invocation.settings.engine.verify:
        raise UsageError("--receipt needs --verify")
    if target is None:
        for what, value in {
            "--image-name": image_name,
            "--host": host,
            "--force": force,
            "--include": include,
            "--no-lock": invocation.no_lock,
        }.items():
            if value:
                raise UsageError(f"{what} needs a --target")
        restore_volumes(invocation, receipt)
        return
    refuse_all_but(TARGET_OPTIONS, "volumes in the cloud, not for a --target")
    engine = invocation.settings.engine
    # A volume that the file names is not in the way of an image.
    volume_id = _only_volume(engine.scope) if said(SINGLE_VOLUME_ID) or not image_name else None
    included = [part for text in include for part in text.split(",") if part]  # as every list is taken
    files = FileRestoreOptions(select(included, exclude), engine.overwrite, engine.delete_extra)
    request = TargetRequest(
        target, volume_id, image_name, host, engine.selection, replace=force, verify=engine.verify, files=files
    )
    restore_to_target(invocation, request, receipt)


def _only_volume(scope: Scope | None) -> str | None:
    if scope is None or scope.kind is not ScopeKind.VOLUMES:
        return None
    if len(scope.ids) > 1:
        raise UsageError("a --target takes one volume")
    return scope.ids[0]
