"""Settings from the command line, the environment and the INI file, in that order; declared once, in `options`."""
