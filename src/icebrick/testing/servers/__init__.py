"""Real storage servers on loopback, each a `with` block: ports of their own, all files in a folder that is given.

with sshd.serving(folder) as server:
    place = server.place("one")
    backend = open_backend(place.location, place.options)
"""
