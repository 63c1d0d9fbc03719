"""icebrick verify"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from icebrick.cli.command import command
from icebrick.cli.drill import drill
from icebrick.cli.invocation import Invocation, this_invocation
from icebrick.cli.narrowing import narrowed
from icebrick.cli.output import counted, size_text
from icebrick.cli.proofs import tell_verification
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.cli.snapshots import snapshot_line
from icebrick.errors import IncompleteError, UsageError
from icebrick.parallel import Slots
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.images import load_images
from icebrick.workflow.receipts import Receipts, Verification
from icebrick.workflow.select import LATEST, Narrowing, parse_moment
from icebrick.workflow.verify import VerifyRequest, verification_of
from icebrick.workflow.verify_stored import Proof, StoredProofs

EXAMPLES = """
icebrick -r /srv/backup verify
icebrick -r /srv/backup verify 4f0b9f6e
icebrick -r /srv/backup verify --all --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --json
icebrick -r main --cloud prod verify --drill --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f
icebrick -r /srv/backup verify --drill --target /srv/scratch/drill.raw
"""


@command("verify", examples=EXAMPLES)
@narrowed
@click.argument("snapshot", metavar="[latest|SNAPSHOT]", required=False)
@click.option("--all", "everything", is_flag=True, help="All snapshots, not only the newest of each volume and image.")
@click.option("--restore-from-date", "when", metavar="WHEN", help="Only those not after this date or time.")
@click.option("--drill", "is_drill", is_flag=True, help="Restore to a scratch volume of the cloud, and check that.")
@click.option(
    "--target", type=click.Path(path_type=Path), metavar="FILE", help="Drill without a cloud: a scratch file."
)
def verify(
    snapshot: str | None,
    when: str | None,
    target: Path | None,
    narrowing: Narrowing,
    *,
    everything: bool,
    is_drill: bool,
) -> None:
    """Prove that snapshots can be restored.

    All data of each is read back from the storage, and held against the digests taken at the source: the SHA-256 of
    every block, and the fingerprints of an image's blocks. Without SNAPSHOT, the newest of each volume and image is
    verified. Ends with 3 when one is not as it was.

    With --drill, each is restored to a new volume, which is compared with it, and whose file system is checked by its
    own checker; and the volume is deleted. With --target that is a scratch file of this host.

    What was found is kept on this host, and 'icebrick snapshots' shows it.
    """
    invocation = this_invocation()
    if snapshot is not None and (everything or (when is not None and snapshot != LATEST)):
        raise UsageError("a SNAPSHOT is one, and takes neither --all nor --restore-from-date")
    request = VerifyRequest(narrowing, snapshot, None if when is None else parse_moment(when), everything)
    if target is not None and not is_drill:
        raise UsageError("--target is for a --drill")
    failed = drill(invocation, request, target) if is_drill else _verify(invocation, request)
    if failed:
        raise IncompleteError(
            f"{counted(len(failed), 'snapshot')} could not be proved: {', '.join(failed)}",
            hint="'icebrick check --read-data' finds all damage; other snapshots may have what is missing here.",
        )


def _verify(invocation: Invocation, request: VerifyRequest) -> Sequence[str]:
    """Short ids of those that failed."""
    failed = []
    with (
        opened_repository(invocation, cached=False) as repository,
        repository.lock(wait=lock_wait(invocation)),
    ):
        images = load_images(repository, invocation.progress)
        receipts = Receipts(invocation.settings.agent.state_dir, repository.id)
        receipts.keep_only(repository.snapshot_ids())
        proofs = StoredProofs(images, Slots(stop=invocation.stop), invocation.progress)
        for snapshot in request.choose(images.snapshots):
            invocation.stop.check()
            started = datetime.now(UTC)
            proof = proofs.prove(snapshot)
            verification = verification_of(snapshot, proof, started)
            receipts.save(verification)
            _tell(invocation, snapshot, proof, verification)
            if not verification.ok:
                failed.append((snapshot.id or "")[:8])
    return failed


def _tell(invocation: Invocation, snapshot: Snapshot, proof: Proof, verification: Verification) -> None:
    output = invocation.output
    for problem in proof.problems:
        output.warn(f"{problem.path} of snapshot {verification.snapshot_id[:8]}: {problem.reason}")
    tell_verification(output, f"{snapshot_line(snapshot)}: {_found(proof)}", verification)


def _found(proof: Proof) -> str:
    if proof.problem_count:
        return f"FAILED, {counted(proof.problem_count, 'problem')}"
    told = f"verified, {counted(proof.blobs, 'blob')} right, {size_text(proof.bytes_read)} read"
    return f"{told}, {counted(proof.fingerprints, 'fingerprint')} right" if proof.fingerprints else told
