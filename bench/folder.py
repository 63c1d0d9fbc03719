"""Back up a folder just as the file system of a volume is backed up; a snapshot that is there is its parent.

python -m bench.folder REPOSITORY FOLDER [init]
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

from icebrick.backend.local import LocalBackend
from icebrick.engine.file.backup import backup_files
from icebrick.engine.file.hosttree import HostTree
from icebrick.engine.file.parent import FilesBaseline
from icebrick.process import keep_freed_memory
from icebrick.repository.ids import BlobType
from icebrick.repository.repository import init_repository, open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import now
from icebrick.repository.tree import decode_tree, encode_tree
from icebrick.secret import Secret


def main(location: str, folder: str, *arguments: str) -> None:
    keep_freed_memory()
    password = Secret(os.environ["RESTIC_PASSWORD"])
    with closing(LocalBackend(Path(location))) as backend:
        if arguments:
            init_repository(backend, password)
            return
        repository = open_repository(backend, password)
        with repository.lock():
            earlier = sorted(repository.snapshots(), key=lambda snapshot: snapshot.time)
            store = repository.load_index()
            baseline = None
            if earlier:
                (node,) = decode_tree(store.load(BlobType.TREE, earlier[-1].tree))
                assert node.subtree is not None
                baseline = FilesBaseline(store, node.subtree)
            root = os.open(folder, os.O_PATH | os.O_DIRECTORY)
            with store.writer() as writer:
                result = backup_files(HostTree(root), writer, baseline=baseline)
                tree = writer.save(BlobType.TREE, encode_tree([result.node]))
            os.close(root)
            repository.save_snapshot(Snapshot(now(), tree, (folder,), "bench"))


if __name__ == "__main__":
    main(*sys.argv[1:])
