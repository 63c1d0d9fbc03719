"""What runs inside the virtual machine: the standard library and this package, nothing else of ours."""
