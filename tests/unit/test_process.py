"""What a process settles at its start."""

from __future__ import annotations

import subprocess
import sys


def test_more_files_may_be_open_than_a_shell_allows() -> None:
    code = (
        "import resource\n"
        "from icebrick.process import open_many_files\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 1000))\n"
        "open_many_files()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "(1000, 1000)\n"
