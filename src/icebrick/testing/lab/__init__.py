"""A throw-away Debian on a kernel of its own, for what a test cannot have on the kernel that it runs on.

That is both ends of real iSCSI, LVM, multipath and dm-crypt. The kernel is User Mode Linux: an ordinary process, which
needs no KVM and computes nearly as fast as its host. What the guest writes is gone with it, but for the directories
that are shared with it for that.

recipe.py   what is in a guest; its packages come from where this machine has its own from
image.py    building it, once for all whose recipe is the same
python.py   this Python and its packages on a disk, as guests see them
guest.py    one guest's life, from boot to exit code
init.sh     what it runs first
__main__.py by hand: python -m icebrick.testing.lab run -- COMMAND
"""
