"""How and when snapshots were verified, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from icebrick.cli.output import Output
from icebrick.workflow.receipts import Verification

_UNITS = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min"))


def proof_text(verifications: Sequence[Verification], now: datetime) -> str:
    """The newest, as `drill 3 d ago`; but the newest that failed, as long as none of its kind has succeeded since."""
    failed = [each for each in verifications if not each.ok]
    if failed:
        return f"FAILED: {failed[0].kind.value} {_age(now - failed[0].verified)}"
    return f"{verifications[0].kind.value} {_age(now - verifications[0].verified)}" if verifications else ""


def proof_records(verifications: Sequence[Verification]) -> list[dict[str, Any]]:
    """Newest first, one of each kind."""
    return [
        {
            "kind": each.kind.value,
            "verified": each.verified.isoformat(),
            "ok": each.ok,
            "digest": each.digest,
        }
        for each in verifications
    ]


def tell_verification(output: Output, text: str, verification: Verification) -> None:
    """A line of the result."""
    if output.as_json:
        kept = {"ok": verification.ok, "digest": verification.digest, **verification.details}
        told = {"kind": verification.kind.value, "verified": verification.verified.isoformat(), **kept}
        output.record("verified", {"snapshot_id": verification.snapshot_id, **told})
    else:
        output.line(text)


def _age(age: timedelta) -> str:
    for unit, name in _UNITS:
        if age >= unit:
            return f"{age // unit} {name} ago"
    return "now"
