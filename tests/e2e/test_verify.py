"""icebrick verify, and what icebrick snapshots tells of it afterwards."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tests.e2e.conftest import Shell

pytestmark = pytest.mark.slow


@pytest.fixture
def saved(shell: Shell, repository: Path, tmp_path: Path) -> Path:
    """The repository with two snapshots of one image."""
    image = tmp_path / "disk.raw"
    for seed in (1, 2):
        image.write_bytes(random.Random(seed).randbytes(3 << 20) + bytes(1 << 20))
        assert shell.run("backup", "--image", image, "--name", "disk1").returncode == 0
    return repository


def verified(shell: Shell) -> list[list[str]]:
    """Of each snapshot, how it was verified."""
    told = json.loads(shell.run("snapshots", "--json").stdout)
    return [[proof["kind"] for proof in snapshot.get("verified", []) if proof["ok"]] for snapshot in told]


def test_the_newest_of_each_image_is_verified_and_that_is_shown(shell: Shell, saved: Path) -> None:
    ended = shell.run("verify")
    assert ended.returncode == 0, ended.stderr
    assert "4 fingerprints right" in ended.stdout
    assert verified(shell) == [[], ["verify"]]
    assert "verify now" in shell.run("snapshots").stdout


def test_all_are_verified_as_json(shell: Shell, saved: Path) -> None:
    ended = shell.run("verify", "--all", "--json")
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    proofs = [record for record in told if record["message_type"] == "verified"]
    assert [proof["ok"] for proof in proofs] == [True, True]
    assert [proof["fingerprints"] for proof in proofs] == [4, 4]
    assert verified(shell) == [["verify"], ["verify"]]


@pytest.mark.damages_repository("flips a bit")
def test_a_failure_ends_with_3_and_is_shown_until_it_is_mended(shell: Shell, saved: Path) -> None:
    pack = max(saved.glob("data/*/*"), key=lambda path: path.stat().st_size)
    whole = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    ended = shell.run("verify", "--all")
    assert ended.returncode == 3
    assert "/volume.raw of snapshot" in ended.stderr
    listed = shell.run("snapshots")
    assert "FAILED: verify now" in listed.stdout
    assert "the last verification failed of 1 snapshot" in listed.stderr
    pack.write_bytes(whole)
    assert shell.run("verify", "--all").returncode == 0
    assert "FAILED" not in shell.run("snapshots").stdout


def test_a_snapshot_is_one_and_not_all(shell: Shell, saved: Path) -> None:
    assert shell.run("verify", "latest", "--all").returncode == 2


def test_a_restore_that_was_verified_is_a_proof_too(shell: Shell, saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "restored.raw"
    assert shell.run("restore", "--image-name", "disk1", "--target", target, "--verify").returncode == 0
    assert verified(shell) == [[], ["restore"]]
