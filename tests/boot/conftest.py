"""Lets Python find what Ansible puts beside a role's module before it runs."""

from pathlib import Path

import ansible.module_utils

SHARED = Path(__file__).resolve().parents[2] / "roles/boot_config/module_utils"
ansible.module_utils.__path__.append(str(SHARED))
