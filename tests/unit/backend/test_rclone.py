"""rclone as a child of this process: how it begins, what is told of it, and that it never stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from icebrick.backend.base import FileType, Handle
from icebrick.backend.location import parse_location
from icebrick.backend.options import BackendOptions
from icebrick.backend.rclone import open_rclone
from icebrick.errors import BackendError, BackendUnavailableError, UsageError

CONFIG = Handle(FileType.CONFIG)

# Says where it serves, or why it cannot, as rclone does, and writes down how it was called.
PRETENDER = """\
#!{python}
import json, os, sys, time
folder = {folder!r}
with open(folder + "/called", "a") as file:
    print(json.dumps([os.getpid(), sys.argv[1:], dict(os.environ)]), file=file)
{body}
"""
SERVES = """\
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"config")
server = HTTPServer(("127.0.0.1", 0), Handler)
url = "http://127.0.0.1:%d/" % server.server_port
print("2026/01/01 10:00:00 NOTICE: Serving restic REST API on", url, file=sys.stderr)
server.serve_forever()
"""
FAILS = 'sys.exit("2026/01/01 10:00:00 Failed to create file system: pass word1 is wrong\\x1b[31m")'


@pytest.fixture
def pretend(tmp_path):
    def pretend(body):
        program = tmp_path / "rclone"
        program.write_text(PRETENDER.format(python=sys.executable, folder=str(tmp_path), body=body))
        program.chmod(0o755)
        return program

    return pretend


def calls(tmp_path):
    return [json.loads(line) for line in (tmp_path / "called").read_text().splitlines()]


def opened(program, address="remote:path", environment=None, **options):
    values = {"rclone.program": str(program), **{f"rclone.{name}": value for name, value in options.items()}}
    return open_rclone(parse_location(f"rclone:{address}"), BackendOptions(values, environment=environment or {}))


def gone(process):
    """Within a second: a killed process's children are ended by the kernel, but at its leisure."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_the_child_gets_a_password_that_no_argument_shows(pretend, tmp_path):
    backend = opened(pretend(SERVES), args="serve restic --stdio --fast-list")
    assert backend.load(CONFIG) == b"config"
    backend.close()
    ((_, arguments, environment),) = calls(tmp_path)
    assert arguments == ["serve", "restic", "--fast-list", "--addr", "127.0.0.1:0", "--", "remote:path"]
    assert environment["RCLONE_USER"]
    assert len(environment["RCLONE_PASS"]) > 40


def test_the_child_gets_the_environment_but_for_our_secrets_and_what_hides_its_address(pretend, tmp_path):
    given = {"RCLONE_CONFIG": "/c", "RESTIC_PASSWORD": "secret", "RCLONE_LOG_FILE": "/dev/null", "AWS_PROFILE": "p"}
    backend = opened(pretend(SERVES), environment=given)
    backend.load(CONFIG)
    backend.close()
    ((_, _, environment),) = calls(tmp_path)
    assert environment.keys() & given.keys() == {"RCLONE_CONFIG", "AWS_PROFILE"}


def test_nothing_is_started_before_the_first_call_and_nothing_left_after_the_close(pretend, tmp_path):
    backend = opened(pretend(SERVES))
    assert not (tmp_path / "called").exists()
    backend.load(CONFIG)
    backend.load(CONFIG)
    backend.close()
    ((process, _, _),) = calls(tmp_path)
    assert gone(process)


@pytest.mark.parametrize(("end", "gone"), [(0, True), ("ERROR : x: directory not found", True), ("no", False)])
def test_empty_folders_are_removed_by_rclone(pretend, tmp_path, end, gone):
    assert opened(pretend(f"sys.exit({end!r})")).discard() is gone
    assert calls(tmp_path)[0][1] == ["rmdirs", "--", "remote:path"]


def test_a_child_that_cannot_serve_is_final_and_tells_why(pretend):
    backend = opened(pretend(FAILS))
    with pytest.raises(BackendError, match=r"cannot serve rclone:remote:path: Failed to create file system") as caught:
        backend.load(CONFIG)
    assert not caught.value.retryable
    assert "\x1b" not in str(caught.value)
    backend.close()


def test_the_secrets_of_a_remote_are_told_nobody(pretend):
    backend = opened(pretend(FAILS), address=':http,pass="word1":path')
    with pytest.raises(BackendError) as caught:
        backend.load(CONFIG)
    assert "word1" not in str(caught.value)
    assert backend.location == "rclone::http,***"
    backend.close()


def test_a_child_that_died_may_pass_and_the_next_call_starts_another(pretend, tmp_path):
    backend = opened(pretend(SERVES))
    backend.load(CONFIG)
    os.kill(calls(tmp_path)[0][0], signal.SIGKILL)
    assert gone(calls(tmp_path)[0][0])
    assert backend.load(CONFIG) == b"config"
    assert len(calls(tmp_path)) == 2
    backend.close()


def test_a_child_that_dies_during_a_call_tells_its_last_words(pretend):
    dies = SERVES.replace("self.send_response(200)", 'print("out of memory", file=sys.stderr, flush=True); os._exit(2)')
    backend = opened(pretend(dies))
    with pytest.raises(BackendUnavailableError, match=r"rclone for rclone:remote:path ended: .*out of memory"):
        backend.load(CONFIG)
    backend.close()


def test_the_child_ends_when_this_process_is_killed(pretend, tmp_path):
    script = """
        import os, signal, sys
        from icebrick.backend.base import FileType, Handle
        from icebrick.backend.location import Location
        from icebrick.backend.options import BackendOptions
        from icebrick.backend.rclone import open_rclone
        backend = open_rclone(Location("rclone", "remote:path"), BackendOptions({"rclone.program": sys.argv[1]}))
        backend.load(Handle(FileType.CONFIG))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(pretend(SERVES))]
    assert subprocess.run(command, timeout=30, check=False).returncode == -signal.SIGKILL
    assert gone(calls(tmp_path)[0][0])


def test_no_rclone_is_a_mistake_with_a_hint(tmp_path):
    with pytest.raises(UsageError, match="there is no program") as caught:
        opened(tmp_path / "nothing")
    assert "rclone.program" in caught.value.hint


@pytest.mark.parametrize(("address", "options"), [("path", {}), ("", {}), ("r:p", {"args": "serve 'restic"})])
def test_what_cannot_be_meant_is_a_mistake(pretend, address, options):
    with pytest.raises(UsageError):
        opened(pretend(SERVES), address=address, **options)
