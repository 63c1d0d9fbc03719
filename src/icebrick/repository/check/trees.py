"""Trees against the index: can every directory be read, and is every blob of every file known, with its right size?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from icebrick.errors import CorruptDataError
from icebrick.parallel import Workers
from icebrick.progress import Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.check.report import DAMAGE, Findings
from icebrick.repository.ids import BlobType
from icebrick.repository.tree import Node, decode_tree


class TreeCheck:
    """Visits each tree once, level by level, however many snapshots share it."""

    def __init__(self, store: BlobStore, findings: Findings) -> None:
        self._store = store
        self._findings = findings
        self._seen: set[bytes] = set()

    @property
    def trees(self) -> int:
        return len(self._seen)

    def visit_all(self, roots: Mapping[bytes, str], progress: Progress) -> None:
        """From these trees down; the texts say where each was found."""
        level: dict[bytes, str] = dict(roots)
        with progress.task("check trees", unit="trees") as task:
            while level:
                self._seen.update(level)
                below: dict[bytes, str] = {}

                def visit(item: tuple[bytes, str], below: dict[bytes, str] = below) -> None:
                    below.update(self._visit(*item))
                    task.advance(1)

                with Workers(visit, threads=self._store.connections, name="trees") as workers:
                    for item in level.items():
                        workers.put(item)
                level = {tree_id: where for tree_id, where in below.items() if tree_id not in self._seen}

    def _visit(self, tree_id: bytes, where: str) -> dict[bytes, str]:
        """The trees below, and where they are; problems are recorded."""
        try:
            nodes = decode_tree(self._store.load(BlobType.TREE, tree_id))
        except DAMAGE as error:
            self._findings.problem(f"tree {tree_id.hex()} of {where}: {error}")
            return {}
        for node in nodes:
            for problem in self._problems(node):
                self._findings.problem(f"{where}/{node.name!a}: {problem}")
        return {node.subtree: f"{where}/{node.name!a}" for node in nodes if node.subtree}

    def _problems(self, node: Node) -> Iterator[str]:
        if node.type == "dir" and node.subtree is None:
            yield "directory without a tree"
        if node.type != "file":
            return
        try:
            stored = int(self._store.places(node.content).sizes.sum())
        except CorruptDataError as error:
            yield str(error)
            return
        if stored != node.size:
            yield f"its blobs have {stored} bytes, it must have {node.size}"
