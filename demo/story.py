"""What happens, in order."""

from __future__ import annotations

import secrets
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from demo import guest, stage
from demo.evidence import (
    Evidence,
    ProofError,
    device_digest,
    file_digests,
    prove_same_device,
    prove_same_files,
    used_bytes,
)
from demo.narration import Narrator, mib
from demo.shell import Shell
from demo.tenant import Tenant, logged_in

USER = "alice"
SIZE_GIB = 1


@dataclass(frozen=True, slots=True)
class Scene:
    """What all steps have in common."""

    narrator: Narrator
    folder: Path
    shell: Shell
    tenant: Tenant

    @property
    def repository(self) -> Path:
        return self.folder / "repository"


def tell(narrator: Narrator) -> None:
    """Play the whole story. ProofError or CommandError when it does not end as it must."""
    with stage.workspace() as folder:
        with ExitStack() as stack:
            with narrator.step("A cloud: start a real Keystone and a real Cinder"):
                cloud = stack.enter_context(stage.devcloud(folder))
                tenant = stack.enter_context(logged_in(USER, cloud.clouds_yaml))
                narrator.say(f"{USER} is a member of a project, without any special rights")
            shell = Shell(narrator, _variables(folder, cloud.clouds_yaml))
            _play(Scene(narrator, folder, shell, tenant))
        with narrator.step("Cleaned up"):
            stage.clear(folder)
            stage.prove_clear(folder)
            narrator.proved("no process, loop device, mount or file is left")
    narrator.end("All proved.")


def _play(scene: Scene) -> None:
    volume_id = scene.tenant.create_volume("web-data", SIZE_GIB, {"owner": "web team"})
    evidence = _live(scene, volume_id)
    with scene.narrator.step("Disaster: the volume is destroyed"):
        scene.tenant.delete_volume(volume_id)
        scene.narrator.say(f"volumes that are left in the project: {len(scene.tenant.volume_ids())}")
    restored_id = _restore(scene, volume_id)
    _prove_identical(scene, restored_id, evidence)
    _let_restic_judge(scene, volume_id, evidence)


def _live(scene: Scene, volume_id: str) -> Evidence:
    """Use the volume, and back it up while it is used; what it holds at the last backup."""
    narrator = scene.narrator
    with ExitStack() as use:
        with narrator.step("A volume in use: a partition table, an ext4, some thousand files"):
            device = use.enter_context(scene.tenant.attached(volume_id))
            disk = guest.partition(device)
            files = use.enter_context(guest.mounted(disk, stage.guest_folder(scene.folder)))
            narrator.say(f"{guest.fill(files)} files, {mib(used_bytes(files))}")
            narrator.say(scene.tenant.describe(volume_id))
        with narrator.step("The first backup, while the volume is in use"):
            scene.shell.show_variables()
            scene.shell.run("icebrick", "init")
            scene.shell.run("icebrick", "backup", "--single-volume-id", volume_id)
            first = used_bytes(scene.repository)
            narrator.say(f"the repository has {mib(first)}")
        with narrator.step("Some files change, and the second backup stores what is new"):
            narrator.say(guest.change(files))
            evidence = Evidence(device_digest(device), file_digests(files))
            scene.shell.run("icebrick", "backup", "--single-volume-id", volume_id)
            scene.shell.run("icebrick", "snapshots")
            narrator.say(f"the repository has grown by {mib(used_bytes(scene.repository) - first)}")
    return evidence


def _restore(scene: Scene, volume_id: str) -> str:
    """The id of the volume that the restore has made."""
    with scene.narrator.step("The restore: to a new volume, read back and compared"):
        before = scene.tenant.volume_ids()
        scene.shell.run("icebrick", "restore", "--single-volume-id", volume_id, "--verify")
        made = scene.tenant.volume_ids() - before
        if len(made) != 1:
            raise ProofError(f"the restore made {len(made)} volumes instead of one")
        restored_id = made.pop()
        scene.narrator.say(scene.tenant.describe(restored_id))
        return restored_id


def _prove_identical(scene: Scene, restored_id: str, evidence: Evidence) -> None:
    with scene.narrator.step("The proof, without icebrick"), scene.tenant.attached(restored_id) as device:
        prove_same_device(evidence.device, device)
        scene.narrator.proved(f"every byte of the device is as it was: SHA-256 {evidence.device}")
        disk = guest.disk_on(device)
        with guest.mounted(disk, stage.guest_folder(scene.folder)) as files:
            prove_same_files(evidence.files, file_digests(files))
        scene.narrator.proved(f"all {len(evidence.files)} files and directories are as they were")


def _let_restic_judge(scene: Scene, volume_id: str, evidence: Evidence) -> None:
    with scene.narrator.step("The judge: stock restic, which knows nothing of icebrick"):
        if shutil.which("restic") is None:
            scene.narrator.say("restic is not installed, so nobody judges")
            return
        target = scene.folder / "rescued"
        scene.shell.run("restic", "check", "--quiet", "--read-data")
        scene.narrator.proved("restic finds the repository sound, every byte of it")
        scene.shell.run("restic", "restore", "latest", "--path", f"/cinder/{volume_id}", "--target", str(target))
        found = sorted(target.rglob("volume.raw"))
        if len(found) != 1:
            raise ProofError(f"restic restored {len(found)} images named volume.raw instead of one")
        prove_same_device(evidence.device, found[0])
        scene.narrator.proved(f"{found[0].relative_to(target)} that restic restored is the volume, byte for byte")


def _variables(folder: Path, clouds_yaml: Path) -> dict[str, str]:
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(18))
    cache = folder / "restic-cache"
    cache.mkdir()
    return {
        "OS_CLIENT_CONFIG_FILE": str(clouds_yaml),
        "OS_CLOUD": USER,
        "RESTIC_REPOSITORY": str(folder / "repository"),
        "RESTIC_PASSWORD_FILE": str(password),
        "RESTIC_CACHE_DIR": str(cache),
        "ICEBRICK_STATE_DIR": str(folder / "state"),
    }
