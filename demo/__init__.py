"""The demonstration: a volume is backed up while in use, destroyed, restored and proved identical.

__main__.py   starts it, and turns its end into an exit code
story.py      what happens, in order
stage.py      the folder and the devcloud that it happens in, and what is left of them afterwards
narration.py  what is shown
shell.py      icebrick and restic, run as a user runs them
tenant.py     the member of a project who owns the volume
guest.py      what a virtual machine would do with the volume
evidence.py   digests, taken without icebrick, and their comparison
"""
