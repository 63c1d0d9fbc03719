"""A real Keystone and a real Cinder in two processes, for tests and the demonstration.

devcloud.py     the class Devcloud: up, down, status, what is left over
environment.py  the virtual environment that Cinder and Keystone are installed in
record.py       a devcloud's settings and state, layout.py its files, conffiles.py what the servers read
accounts.py     projects, users and their clouds.yaml
processes.py    starting, finding and ending the two servers
host.py         loop devices and mounts of a devcloud, found by its directory; its pool
lvm.py          the volume group of one that stores in LVM, iscsi.py what a host has of its volumes over iSCSI
faults.py       faults on demand and the operations log of the volume driver
server/         programs that run in that environment; they never import icebrick, nor it them
"""
