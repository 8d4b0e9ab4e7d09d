"""Plain English in what users read: short sentences, none of the habits of plain_english.toml.

    python tests/plain_english.py [FILE ...]

Reads all documents that git knows, or those named, without code and the targets of links.
Prints `file:line: what, and what to write instead`; exits 1 if there is anything to mend.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RULES = Path(__file__).with_suffix(".toml")
CODE_BLOCK = re.compile(r"^( *)(```|~~~).*?^ *\2 *$", re.MULTILINE | re.DOTALL)
# Code counts as one word, a link as its text; neither may move a line.
NO_PROSE = re.compile(r"`[^`]+`|\]\([^)\s]*\)|^ *\|[ :|-]+\| *$", re.MULTILINE)
# A blank line, a heading, an item of a list, a cell of a table: each begins a sentence of its own.
BLOCK = re.compile(r"\n[ \t]*\n|\n(?=[ \t]*(?:[-*] |\d+\. |#+ |\|))|\|")
SENTENCE = re.compile(r"(?<=[.!?])[)*_]*\s+(?=[^a-z])|(?<=[:;])[*_]*\s+")


def prose(text: str) -> str:
    """Return a document without its code, as long in lines.

    Args:
        text: The document, in Markdown.
    """

    def blank(place: re.Match[str]) -> str:
        return "\n" * place[0].count("\n")

    text = CODE_BLOCK.sub(blank, text)
    return NO_PROSE.sub(lambda place: ("X" if place[0][0] == "`" else "") + blank(place), text)


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yield each sentence with the number of its first line.

    Args:
        text: Prose.
    """
    start = 0
    places = [*(m.span() for m in BLOCK.finditer(text)), (len(text), len(text))]
    for end, following in places:
        begin = start
        for place in [*SENTENCE.finditer(text, start, end), None]:
            stop = end if place is None else place.start()
            sentence = text[begin:stop]
            lead = len(sentence) - len(sentence.lstrip())
            if sentence.strip():
                yield text.count("\n", 0, begin + lead) + 1, " ".join(sentence.split())
            begin = stop if place is None else place.end()
        start = following


def faults(text: str, most_words: int, instead: dict[str, str]) -> list[tuple[int, str]]:
    """Return what is to be mended in a document: line numbers and words.

    Args:
        text: The document, in Markdown.
        most_words: That a sentence can have.
        instead: Patterns of habits, each with what to write.
    """
    found = []
    for line, sentence in sentences(prose(text)):
        words = len(re.findall(r"\w\S*", sentence))
        if words > most_words:
            what = f"{words} words in a sentence, at most {most_words}"
            found.append((line, f"{what}: {sentence[:60]} ..."))
        for pattern, better in instead.items():
            place = re.search(pattern, sentence, re.IGNORECASE)
            if place is not None:
                found.append((line, f"'{place[0]}': {better}"))
    return found


def main(names: Sequence[str]) -> int:
    """Check documents.

    Args:
        names: Their paths; none: all that git knows.

    Returns:
        The exit status: 1 if there is anything to mend.
    """
    rules = tomllib.loads(RULES.read_text())
    if not names:
        listing = ["git", "-C", str(ROOT), "ls-files", "*.md"]
        names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split()
    status = 0
    for name in names:
        for line, what in faults((ROOT / name).read_text(), **rules):
            print(f"{name}:{line}: {what}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
