"""The command line: `main`, what all commands share, and one file per command."""
