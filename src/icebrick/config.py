"""The configuration file, as frozen dataclasses."""
