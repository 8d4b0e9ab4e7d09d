"""Lets Python find what Ansible puts beside a role's module, and shells this Python's tools."""

import os
import sys
from pathlib import Path

import ansible.module_utils

ROLES = Path(__file__).resolve().parents[2] / "roles"
ansible.module_utils.__path__.extend(
    str(path) for path in sorted(ROLES.glob("*/module_utils")) if path.is_dir()
)
# Where the tests run without the virtual environment active.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
