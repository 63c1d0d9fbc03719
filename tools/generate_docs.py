"""Write the pages of docs/reference that are made from the code."""

from __future__ import annotations

from pathlib import Path

from icebrick.cli.reference import cli_page
from icebrick.config.reference import configuration_page

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"


def main() -> None:
    (REFERENCE / "cli.md").write_text(cli_page(), "utf-8")
    (REFERENCE / "configuration.md").write_text(configuration_page(), "utf-8")


if __name__ == "__main__":
    main()
