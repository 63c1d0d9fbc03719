"""Which snapshots are verified, and what is told and kept of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.receipts import ProofKind, Verification
from icebrick.workflow.report import to_json
from icebrick.workflow.select import LATEST, Narrowing, Selection, choose_any

if TYPE_CHECKING:
    from icebrick.workflow.verify_stored import Proof


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """One snapshot, or `latest`, when that is `wanted`; or `everything`; else the newest of each volume and image."""

    narrowing: Narrowing
    wanted: str | None = None
    not_after: datetime | None = None
    everything: bool = False

    def choose(self, snapshots: Iterable[Snapshot]) -> Sequence[Snapshot]:
        """Oldest first; SnapshotMissingError when there is none."""
        there = list(snapshots)
        newest = choose_any(there, Selection(self.wanted or LATEST, self.not_after), self.narrowing)
        if self.wanted is not None:
            return [newest]
        counted = [snapshot for snapshot in there if self.narrowing.takes(snapshot) and snapshot.time <= newest.time]
        if self.everything:
            return counted
        of_each = {(snapshot.hostname, snapshot.paths): snapshot for snapshot in counted}
        return sorted(of_each.values(), key=lambda snapshot: snapshot.time)


def verification_of(snapshot: Snapshot, proof: Proof, started: datetime) -> Verification:
    """What is kept of a snapshot that was read back."""
    details: dict[str, Any] = to_json(proof)
    return Verification(
        snapshot_id=snapshot.id or "",
        kind=ProofKind.VERIFY,
        verified=datetime.now(UTC),
        ok=not proof.problem_count,
        digest=proof.digest,
        details={"started": started.isoformat(), **{name: details[name] for name in details if name != "digest"}},
    )
