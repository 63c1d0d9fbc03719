"""icebrick init"""

from __future__ import annotations

from icebrick.app import opened_backend
from icebrick.cli.command import command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.password import read_password
from icebrick.repository.repository import init_repository

EXAMPLES = """
icebrick -r /srv/backup init
icebrick -r /srv/backup --password-file /etc/icebrick/main.password init
icebrick -r /srv/backup/{project_id} --project-id 6c9f0e2a6d5e4f0b9f6e3c1a2b4d5e6f init
"""


@command("init", examples=EXAMPLES)
def init() -> None:
    """Create a repository.

    Without the password the data is lost: nobody can restore it. Keep a copy elsewhere.
    """
    invocation = this_invocation()
    settings = invocation.settings.repository
    settings = settings.for_project(settings.project_id)
    with opened_backend(settings) as backend:
        repository = init_repository(backend, read_password(settings, new=True))
    text = f"created repository {repository.id[:10]} at {settings.location}"
    record = {"message_type": "initialized", "id": repository.id, "repository": str(settings.location)}
    invocation.output.result(text, record)
