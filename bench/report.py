"""The results as a table for people and as JSON for machines."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from bench.images import GIB, Image
from bench.measure import Cost, middle

_Results = Mapping[tuple[str, str, str], Sequence[Cost]]
_Sizes = Mapping[tuple[str, str], int]
_HEAD = ("image", "operation", "contender", "runs", "wall s", "CPU s", "CPU s/GiB", "peak MiB", "wall x", "CPU x")


def table(images: Sequence[Image], results: _Results, sizes: _Sizes, memory: Mapping[int, Cost]) -> str:
    """Medians; the last two columns are Icebrick's figure divided by the contender's."""
    data = {image.name: image.data for image in images}
    rows = [_HEAD]
    for (image, operation, contender), costs in results.items():
        cost, ours = middle(costs), middle(results[image, operation, "icebrick"])
        rows.append(
            (
                image,
                operation,
                contender,
                str(len(costs)),
                f"{cost.wall:.2f}",
                f"{cost.cpu:.2f}",
                f"{cost.cpu / data[image] * GIB:.2f}",
                f"{cost.rss:.0f}",
                "" if contender == "icebrick" else f"{ours.wall / cost.wall:.2f}",
                "" if contender == "icebrick" else f"{ours.cpu / cost.cpu:.2f}",
            )
        )
    lines = [_line(row, _widths(rows)) for row in rows]
    lines += ["", "repository, MiB (after the full backup; '+1' after the incremental one):"]
    for (image, contender), size in sizes.items():
        ours = sizes.get((image, "icebrick"), size)
        lines.append(f"  {image:12} {contender:10} {size / 2**20:8.1f}   icebrick / this: {ours / size:.3f}")
    if memory:
        lines += ["", "peak memory of a full backup of a nearly empty volume:"]
    lines += [f"  {size:4} GiB   {cost.rss:.0f} MiB" for size, cost in memory.items()]
    return "\n".join(lines)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def as_json(images: Sequence[Image], results: _Results, sizes: _Sizes, memory: Mapping[int, Cost]) -> dict[str, Any]:
    """Every single run."""
    return {
        "machine": {"python": platform.python_version(), "kernel": platform.release(), "arch": platform.machine()},
        "images": [{"name": image.name, "data_bytes": image.data} for image in images],
        "runs": [
            {
                "image": image,
                "operation": operation,
                "contender": contender,
                "costs": [cost.as_dict() for cost in costs],
            }
            for (image, operation, contender), costs in results.items()
        ],
        "repository_bytes": [
            {"image": image, "contender": contender, "bytes": size} for (image, contender), size in sizes.items()
        ],
        "memory": [{"volume_gib": size, **cost.as_dict()} for size, cost in memory.items()],
    }
