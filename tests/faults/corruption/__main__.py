"""Damage every file of a repository in every way; print how many cases were found, refused and mended.

python -m tests.faults.corruption
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence

from tests.faults.corruption.judge import Mended, Verdict, cases, judge
from tests.faults.corruption.scene import Scene, made_by_icebrick, made_by_restic

from icebrick.backend.base import FileType

HEAD = (
    "made by",
    "type",
    "files",
    "cases",
    "found",
    "restores right",
    "refused",
    "wrong",
    *(each.value for each in Mended),
)


def main() -> int:
    program = shutil.which("restic")
    scenes = [made_by_icebrick(), *([made_by_restic(program)] if program else [])]
    rows: list[tuple[str, ...]] = [HEAD]
    verdicts: list[Verdict] = []
    for scene in scenes:
        for file_type in FileType:
            own = [judge(scene, handle, damage) for handle, damage in cases(scene) if handle.type is file_type]
            rows.append(_row(scene, file_type, own))
            verdicts += own
    print("\n".join(_lines(rows)))
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    print(*wrong, sep="\n")
    unseen = sum(not verdict.found for verdict in verdicts)
    print(f"{len(verdicts)} cases, {len(wrong)} not as promised; {unseen} leave nothing that could be found")
    return int(bool(wrong))


def _row(scene: Scene, file_type: FileType, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    counts = (
        len(scene.files(file_type)),
        len(verdicts),
        sum(verdict.found for verdict in verdicts),
        sum(verdict.right for verdict in verdicts),
        sum(verdict.refused for verdict in verdicts),
        sum(len(verdict.wrong) for verdict in verdicts),
        *(sum(verdict.mended is each for verdict in verdicts) for each in Mended),
    )
    return scene.name, file_type.value, *map(str, counts)


def _lines(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
