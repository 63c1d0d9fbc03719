"""vsftpd: FTP, and FTPS that insists on one TLS session for control and data. Needs root.

It serves anonymous users, who may do everything below one folder: so it needs no account on this host.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions
from icebrick.testing.servers.processes import HOST, Program, need_program
from icebrick.testing.servers.server import Place, StorageServer, reserved_ports, running
from icebrick.testing.servers.tls import Certificates

USER = "ftp"
"""The account that the Debian package makes; it owns the files."""

_CONFIGURATION = """\
listen=YES
listen_address={host}
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
ftp_username={user}
anon_root={folder}/root
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=077
# Wide, as in a narrow one many sessions at once find no port, and end with an error in plain text.
pasv_min_port=20000
pasv_max_port=32000
pasv_address={host}
port_enable=NO
seccomp_sandbox=NO
secure_chroot_dir={folder}/empty
xferlog_enable=NO
max_clients=50
max_per_ip=50
"""
_TLS = """\
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
# Its own default, which a client meets that does not care for the sessions.
require_ssl_reuse=YES
rsa_cert_file={certificates.server}
rsa_private_key_file={certificates.key}
ssl_ciphers=HIGH
"""


@contextmanager
def serving(folder: Path, certificates: Certificates | None = None) -> Iterator[StorageServer]:
    """FTPS with certificates, else FTP. Anybody must be able to pass through the folders above `folder`."""
    files = folder / "root" / "files"
    files.mkdir(parents=True)
    shutil.chown(files, USER)
    (folder / "root").chmod(0o555)  # it refuses a root that its user may write to
    (folder / "empty").mkdir()
    with reserved_ports(1) as (port,):
        text = _CONFIGURATION.format(host=HOST, port=port, folder=folder, user=USER)
        if certificates is not None:
            text += _TLS.format(certificates=certificates)
        (folder / "vsftpd.conf").write_text(text)
        program = Program("vsftpd", [need_program("vsftpd"), str(folder / "vsftpd.conf")], port)

        def place(name: str) -> Place:
            scheme = "ftps" if certificates else "ftp"
            location = Location(scheme, f"//anonymous:nobody@{HOST}:{port}/files/{name}")
            options = BackendOptions(ca_file=certificates.authority if certificates else None)
            return Place(location, options, folder=files / name)

        with running([program], folder, place) as server:
            yield server
