"""What was proved of snapshots, as it is kept."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from icebrick.cli.proofs import proof_records, proof_text
from icebrick.errors import IcebrickError
from icebrick.workflow.receipts import ProofKind, Receipts, Verification

ID = "ab" * 32
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
FINE = Verification(ID, ProofKind.VERIFY, NOON, ok=True, digest="d1", details={"size": 5})


@pytest.fixture
def receipts(tmp_path: Path) -> Receipts:
    return Receipts(tmp_path / "state", "repository")


def test_what_is_kept_is_found_again(receipts: Receipts) -> None:
    receipts.save(FINE)
    assert receipts.of(ID) == (FINE,)


def test_there_is_none_of_a_snapshot_that_was_never_verified(receipts: Receipts) -> None:
    assert receipts.of(ID) == ()


def test_of_each_kind_the_last_one_is_kept(receipts: Receipts) -> None:
    later = replace(FINE, verified=NOON + timedelta(hours=2), ok=False)
    drill = replace(FINE, kind=ProofKind.DRILL, verified=NOON + timedelta(hours=1))
    for each in (FINE, drill, later):
        receipts.save(each)
    assert receipts.of(ID) == (later, drill)


def test_only_its_owner_may_read_it(receipts: Receipts, tmp_path: Path) -> None:
    receipts.save(FINE)
    (path,) = (tmp_path / "state" / "receipts" / "repository").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": "icebrick receipts", "version": 1}', b"\xff" * 10])
def test_a_damaged_one_counts_as_none(receipts: Receipts, tmp_path: Path, content: bytes) -> None:
    receipts.save(FINE)
    (path,) = (tmp_path / "state" / "receipts" / "repository").iterdir()
    path.write_bytes(content)
    assert receipts.of(ID) == ()
    receipts.save(FINE)
    assert receipts.of(ID) == (FINE,)


def test_those_of_forgotten_snapshots_go(receipts: Receipts) -> None:
    receipts.save(FINE)
    receipts.save(replace(FINE, snapshot_id="cd" * 32))
    receipts.keep_only([ID])
    assert receipts.of(ID) == (FINE,)
    assert receipts.of("cd" * 32) == ()


def test_where_a_file_is_in_the_way_it_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "receipts").touch()
    with pytest.raises(IcebrickError, match="cannot keep receipt"):
        Receipts(tmp_path, "repository").save(FINE)


@pytest.mark.parametrize(
    ("age", "told"), [(timedelta(seconds=5), "now"), (timedelta(minutes=90), "1 h ago"), (timedelta(days=3), "3 d ago")]
)
def test_people_are_told_how_long_ago(age: timedelta, told: str) -> None:
    assert proof_text([FINE], NOON + age) == f"verify {told}"


def test_a_failure_is_told_until_its_kind_has_succeeded() -> None:
    failed = replace(FINE, ok=False)
    drill = replace(FINE, kind=ProofKind.DRILL, verified=NOON + timedelta(hours=1))
    assert proof_text([drill, failed], NOON + timedelta(hours=2)) == "FAILED: verify 2 h ago"


def test_nothing_is_told_of_what_was_never_verified() -> None:
    assert proof_text([], NOON) == ""


def test_programs_are_told_each_kind() -> None:
    assert proof_records([FINE]) == [
        {"kind": "verify", "verified": "2026-11-23T12:00:00+00:00", "ok": True, "digest": "d1"}
    ]
