"""Completions of the launcher for bash, zsh and fish, from its parser."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

# Verbs that the launcher's shell part has.
SHELL_VERBS = {
    "try": (
        *("--live-prices", "--exchange", "--candles"),
        *("--symbol", "--speed", "--port", "--no-browser"),
    ),
    "demo": ("--pis", "--again"),
    "prepare": ("--host", "--user", "--key", "--wifi", "--country", "--address", "--gateway"),
    "find": ("--json",),
    "new": ("--pi", "--symbol", "--budget", "--candles"),
    "setup": (),
    "test": ("--quick", "--full"),
    "images": ("trixie", "bookworm"),
    "down": ("--machines", "--all"),
    "help": (),
}
OPTIONS = re.compile(r"^  (-.*?)(?:  |$)", re.MULTILINE)
OPTION = re.compile(r"(?<!\S)--?[a-z][a-z-]*", re.IGNORECASE)
BASH = """_gridberry() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{verbs}"
    else
        case ${{COMP_WORDS[1]}} in
{cases}
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}
complete -o default -F _gridberry gridberry ./gridberry"""
ZSH = """_gridberry() {{
    if (( CURRENT == 2 )); then
        compadd {verbs}
    else
        case $words[2] in
{cases}
        esac
    fi
}}
compdef _gridberry gridberry ./gridberry"""


def verbs_of(parsers: Mapping[str, argparse.ArgumentParser]) -> dict[str, tuple[str, ...]]:
    """Return all verbs of the launcher with their options.

    Args:
        parsers: Those of the verbs of `fleet.cli`.
    """
    own = {
        name: tuple(OPTION.findall(" ".join(OPTIONS.findall(one.format_help()))))
        for name, one in parsers.items()
    }
    return SHELL_VERBS | own


def completion(parsers: Mapping[str, argparse.ArgumentParser], shell: str) -> str:
    """Return the text that a shell evaluates.

    Args:
        parsers: Those of the verbs of `fleet.cli`.
        shell: bash, zsh or fish.
    """
    verbs = verbs_of(parsers)
    names = " ".join(verbs)
    if shell == "fish":
        first = f"complete -c gridberry -n __fish_use_subcommand -f -a '{names}'"
        each = [
            f"complete -c gridberry -n '__fish_seen_subcommand_from {name}'"
            f" -a '{' '.join(options)}'"
            for name, options in verbs.items()
            if options
        ]
        return "\n".join([first, *each])
    form, says = (BASH, 'words="{}"') if shell == "bash" else (ZSH, "compadd -- {}")
    cases = "\n".join(
        f"            {name}) {says.format(' '.join(options))} ;;"
        for name, options in verbs.items()
        if options
    )
    return form.format(verbs=names, cases=cases)
