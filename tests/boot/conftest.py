"""Lets Python find what Ansible puts beside a role's module before it runs."""

from pathlib import Path

import ansible.module_utils

ROOT = Path(__file__).resolve().parents[2]
SHARED = (ROOT / "roles/boot_config/module_utils", ROOT / "plugins/module_utils")
ansible.module_utils.__path__.extend(map(str, SHARED))
