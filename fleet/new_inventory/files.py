"""The files of a new inventory; inventory/example explains more settings."""

from __future__ import annotations

import importlib
import json
from decimal import Decimal

from gridbase.market import coins_of, plain

from fleet.new_inventory.answers import Answers

# What the practice exchange gives an account, unless told otherwise.
BALANCE = Decimal(20_000)
MAIN, HOSTS, VAULT = "group_vars/trading/main.yml", "hosts.yml", "group_vars/trading/vault.yml"


def files(answers: Answers) -> dict[str, str]:
    """Return the files by their path in the inventory, without the vault.

    Args:
        answers: What they say.
    """
    hosts = "".join(
        f"    {name}:\n      ansible_host: {_quoted(address)}\n"
        for name, address in answers.pis.items()
    )
    host_vars = {
        f"host_vars/{name}.yml": f"---\n# What is different on {name} alone. Such as:\n"
        '#   grid_bot_symbol: ETH/USDT\n#   grid_bot_lower: "2200"\n#   grid_bot_upper: "3200"\n'
        for name in answers.pis
    }
    return {
        HOSTS: f"---\n# Your Pis.\ntrading:\n  hosts:\n{hosts}",
        MAIN: _main(answers),
        **host_vars,
    }


def _quoted(text: str) -> str:
    """Return a text that YAML reads as such: an IPv6 address has colons."""
    return f'"{text}"' if ":" in text else text


def _main(answers: Answers) -> str:
    grid, quote = answers.grid, coins_of(answers.symbol)[1]
    nvme = (
        "# Each Pi has an NVMe drive: one whose drive is missing is refused.\n"
        "preflight_nvme_device: /dev/nvme0n1\n\n"
    )
    richer = (
        "\n# What the account of the practice exchange begins with.\n"
        f'grid_bot_exchange_balance: "{plain(answers.budget)}"\n'
    )
    return (
        "---\n# Settings of every Pi in the group `trading`. All of them, with their defaults:\n"
        "# roles/*/README.md; some with an explanation: inventory/example.\n\n"
        f"# The user that you log in as, who can use sudo.\nansible_user: {answers.user}\n\n"
        f"{nvme if answers.nvme else ''}"
        f"# The grid. Amounts are in {quote}, in quotes so that they stay exact.\n"
        f"grid_bot_exchange: {answers.exchange}\ngrid_bot_symbol: {answers.symbol}\n"
        f'grid_bot_lower: "{plain(grid.lower)}"\ngrid_bot_upper: "{plain(grid.upper)}"\n'
        f'grid_bot_grids: {grid.grids}\ngrid_bot_investment: "{plain(answers.budget)}"\n\n'
        "# Paper trades play money, on live prices if the Pi reaches the exchange\n"
        "# (grid_bot_prices: docs/ansible.md). For real money: docs/go-live.md.\n"
        "grid_bot_mode: paper\n"
        f"{richer if answers.budget > BALANCE else ''}"
    )


def vault(key: str, secret: str, password: str) -> str:
    """Return the API keys, encrypted as `ansible-vault encrypt` does.

    Args:
        key: The exchange's API key.
        secret: What came with it.
        password: The vault's.
    """
    # JSON's texts are YAML's as well.
    text = f"---\ngrid_bot_api_key: {json.dumps(key)}\ngrid_bot_api_secret: {json.dumps(secret)}\n"
    # Imported so because Ansible has no types.
    ansible = importlib.import_module("ansible.parsing.vault")
    secret_of_vault = ansible.VaultSecret(password.encode())
    locked: bytes = ansible.VaultLib().encrypt(text, secret=secret_of_vault)
    return locked.decode()
