"""What iSCSI has on this host for a devcloud's volumes, at both ends, found by the names of its targets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from icebrick.devcloud.host import run_tool
from icebrick.devcloud.lvm import volume_group
from icebrick.errors import DevcloudError

_TARGETS = Path("/sys/kernel/config/target/iscsi")
_STORES = Path("/sys/kernel/config/target/core")
_SESSIONS = Path("/sys/class/iscsi_session")
_RECORDS = (Path("/etc/iscsi/nodes"), Path("/var/lib/iscsi/nodes"))
_BY_PATH = Path("/dev/disk/by-path")
_BLOCK = Path("/sys/block")


def target_prefix(directory: Path) -> str:
    """What the names of the devcloud's targets begin with."""
    return f"iqn.2010-10.org.openstack.{volume_group(directory)}:"


def find_connections(directory: Path) -> frozenset[str]:
    """All there is of them, in words. A disk or map that no longer tells whose it was counts, whosever it is."""
    prefix = target_prefix(directory)
    found = {f"target {path.name}" for path in _TARGETS.glob(f"{prefix}*")}
    found |= {f"store {path.name}" for path in _STORES.glob(f"iblock_*/{prefix}*")}
    found |= {f"{path.parent.name} {name}" for path, name in _sessions() if name.startswith(prefix)}
    found |= {f"node record {path.name}" for folder in _RECORDS for path in folder.glob(f"{prefix}*")}
    found |= {f"link {path.name}" for path in _BY_PATH.glob(f"*{prefix}*")}
    found |= {f"disk {path.parts[3]}" for path in _BLOCK.glob("sd*/device/vendor") if _text(path) == "LIO-ORG"}
    maps = ("mpath-", "CRYPT-")
    found |= {f"map {path.parts[3]}" for path in _BLOCK.glob("dm-*/dm/uuid") if _text(path).startswith(maps)}
    return frozenset(found)


def _sessions() -> Iterator[tuple[Path, str]]:
    for path in _SESSIONS.glob("session*/targetname"):
        yield path, _text(path)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # it went while we looked
        return ""


def release_connections(directory: Path) -> None:
    """End what initiators of this host have of the targets, and remove these."""
    prefix = target_prefix(directory)
    names = {name for _, name in _sessions() if name.startswith(prefix)}
    names |= {path.name for folder in _RECORDS for path in folder.glob(f"{prefix}*")}
    for name in names:
        with contextlib.suppress(DevcloudError):  # there may be a record, or a session, and not the other
            run_tool("iscsiadm", "-m", "node", "-T", name, "--logout")
        with contextlib.suppress(DevcloudError):
            run_tool("iscsiadm", "-m", "node", "-T", name, "-o", "delete")
    for target in _TARGETS.glob(f"{prefix}*"):
        _remove_target(target)
    for store in _STORES.glob(f"iblock_*/{prefix}*"):
        store.rmdir()
        store.parent.rmdir()


def _remove_target(target: Path) -> None:
    """In configfs, whose directories can be removed when nothing of ours is in them."""
    for group in target.glob("tpgt_*"):
        (group / "enable").write_text("0")
        for folder in (*group.glob("acls/*/lun_*"), *group.glob("lun/lun_*")):
            for link in (path for path in folder.iterdir() if path.is_symlink()):
                link.unlink()
            folder.rmdir()
        for folder in (*group.glob("acls/*"), *group.glob("np/*"), group):
            if folder.is_dir():
                folder.rmdir()
    target.rmdir()
