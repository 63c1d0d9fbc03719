"""icebrick verify --drill"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from icebrick.app import opened_cloud, this_host, volume_run
from icebrick.cli.invocation import Invocation
from icebrick.cli.proofs import tell_verification
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.cli.snapshots import snapshot_line
from icebrick.errors import IcebrickError, Interrupted
from icebrick.parallel import Slots
from icebrick.workflow.images import Images, load_images
from icebrick.workflow.receipts import Receipts
from icebrick.workflow.verify import VerifyRequest
from icebrick.workflow.verify_drill import Drill, DrillGround, verification_of_drill


def drill(invocation: Invocation, request: VerifyRequest, target: Path | None) -> Sequence[str]:
    """Drill with one snapshot after the other; short ids of those that failed, or could not be drilled with."""
    failed = []
    with _opened(invocation, target) as (images, ground, receipts):
        for snapshot in request.choose(images.snapshots):
            invocation.stop.check()
            try:
                done = ground.drill(snapshot)
            except Interrupted:
                raise
            except IcebrickError as error:
                invocation.output.warn(f"no drill with {snapshot_line(snapshot)}: {error}")
                if error.hint:
                    invocation.output.say(f"hint: {error.hint}")
                failed.append((snapshot.id or "")[:8])
                continue
            verification = verification_of_drill(snapshot, done)
            receipts.save(verification)
            tell_verification(invocation.output, f"{snapshot_line(snapshot)}: {_found(done)}", verification)
            if not done.ok:
                failed.append((snapshot.id or "")[:8])
    return failed


@contextmanager
def _opened(invocation: Invocation, target: Path | None) -> Iterator[tuple[Images, DrillGround, Receipts]]:
    settings, progress, slots = invocation.settings, invocation.progress, Slots(stop=invocation.stop)
    if target is not None:
        with opened_repository(invocation) as repository, repository.lock(wait=lock_wait(invocation)):
            images = load_images(repository, progress)
            ground = DrillGround(images, slots, progress, target.absolute())
            yield images, ground, Receipts(settings.agent.state_dir, repository.id)
        return
    with (
        opened_cloud(settings.cloud, invocation.stop) as cloud,
        opened_repository(invocation, cloud.project().id) as repository,
        volume_run(this_host(settings.agent), cloud, repository, progress) as (access, images),
    ):
        ground = DrillGround(images, slots, progress, access)
        yield images, ground, Receipts(settings.agent.state_dir, repository.id)
        invocation.output.warn_of_leftovers(access.leftovers)


def _found(drill: Drill) -> str:
    receipt, check = drill.receipt, drill.file_system
    if receipt.mismatches:
        return f"FAILED, {receipt.mismatches} of {receipt.compared} differ"
    compared = f"restored, {receipt.compared} right"
    match check.clean:
        case None:
            return f"{compared}, no file system checked, as {check.told}"
        case True:
            return f"{compared}, its {check.type} is clean"
        case _:
            return f"FAILED, all data is right, but its {check.type} has errors: {check.told}"
