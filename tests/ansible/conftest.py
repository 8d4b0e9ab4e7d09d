"""Lets Python find what Ansible puts beside a module, and shells this Python's tools."""

import os
import sys
from pathlib import Path

import ansible.module_utils

ROOT = Path(__file__).resolve().parents[2]
ansible.module_utils.__path__.extend(
    str(path) for path in sorted(ROOT.glob("**/module_utils")) if ".venv" not in path.parts
)
# Where the tests run without the virtual environment active.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
