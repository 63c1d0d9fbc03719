"""SeaweedFS: an S3 server that shares no code with Swift's, in one process."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions
from icebrick.testing.servers.environment import need_in_environment
from icebrick.testing.servers.processes import HOST, Program
from icebrick.testing.servers.server import Place, StorageServer, reserved_ports, running
from icebrick.testing.servers.tls import Certificates

KEY, SECRET = "AKTEST", "SKTEST"
BUCKET = "icebrick"
PROGRAM = "weed"
_PARTS = ("master", "volume", "filer", "s3")


@contextmanager
def serving(folder: Path, certificates: Certificates | None = None) -> Iterator[StorageServer]:
    """S3 over HTTPS with certificates, else over HTTP. Repositories are in one bucket, which need not exist yet."""
    (folder / "data").mkdir(parents=True)
    (folder / "s3.json").write_text(json.dumps(_identities()))
    with reserved_ports(2 * len(_PARTS)) as ports:
        http = dict(zip(_PARTS, ports, strict=False))
        grpc = dict(zip(_PARTS, ports[len(_PARTS) :], strict=True))
        command = [need_in_environment(PROGRAM), *_arguments(folder)]
        command += [f"-{part}.port={port}" for part, port in http.items()]
        command += [f"-{part}.port.grpc={port}" for part, port in grpc.items()]
        if certificates is not None:
            command += [f"-s3.cert.file={certificates.server}", f"-s3.key.file={certificates.key}"]
        program = Program(
            PROGRAM,
            command,
            http["s3"],
            {"GOMEMLIMIT": "500MiB"},  # else it takes a gigabyte; near the limit it collects garbage all the time
            lambda: _has_room(http["master"]),
        )

        def place(name: str) -> Place:
            scheme = "https" if certificates else "http"
            credentials = {
                "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": "us-east-1",
            }
            options = BackendOptions(ca_file=certificates.authority if certificates else None, environment=credentials)
            return Place(Location("s3", f"{scheme}://{HOST}:{http['s3']}/{BUCKET}/{name}"), options)

        try:
            with running([program], folder, place) as server:
                yield server
        finally:
            for part, port in grpc.items():  # killed, it leaves them; no option names another folder
                Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108


def _arguments(folder: Path) -> list[str]:
    return [
        "-logtostderr",
        "server",
        "-s3",
        f"-s3.config={folder / 's3.json'}",
        f"-dir={folder / 'data'}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-s3.localSocket={folder / 's3.sock'}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-master.volumeSizeLimitMB=512",
        "-volume.max=40",
        "-master.telemetry=false",
        # It elects itself after a silence as long as that.
        "-master.electionTimeout=1s",
        "-master.heartbeatInterval=100ms",
        # Further protocols, on fixed ports.
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]


def _identities() -> object:
    credentials = [{"accessKey": KEY, "secretKey": SECRET}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "tests", "credentials": credentials, "actions": actions}]}


def _has_room(port: int) -> bool:
    """Whether a volume server has told the master that it is there."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{HOST}:{port}/dir/status", timeout=5) as answer:
            return bool(json.load(answer)["Topology"]["DataCenters"])
    except (OSError, ValueError):
        return False
