"""ARM64 machines in QEMU that behave like a Raspberry Pi where Gridberry's roles look."""
