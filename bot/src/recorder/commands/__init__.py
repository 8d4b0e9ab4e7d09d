"""The recorder's commands, one module each."""
