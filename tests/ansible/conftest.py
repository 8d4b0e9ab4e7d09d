"""Lets Python find what Ansible puts beside a role's module before it runs."""

from pathlib import Path

import ansible.module_utils

ROLES = Path(__file__).resolve().parents[2] / "roles"
ansible.module_utils.__path__.extend(
    str(path) for path in sorted(ROLES.glob("*/module_utils")) if path.is_dir()
)
