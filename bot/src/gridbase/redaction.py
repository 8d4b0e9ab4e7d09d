"""Takes secrets out of text that is going to be logged: by their kind, and those that were read.

What `read_secret` has read is known by its value, wherever it turns up. The rest is known by how
it looks: a header, a parameter of an address, a webhook's address.
"""

import re

LEAST_LENGTH = 12  # shorter ones are words of the language
_HOOKS = r"/api/webhooks/|hooks\.slack\.com/|api\.telegram\.org/bot|ntfy\.sh/"
_IS = r"[\"']?\s*[=:]\s*[\"']?"  # between a name and its value
_PATTERNS = (
    (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*-----|$)", "[private key]"),
    (rf"https?://[^\s\"'<>]*?({_HOOKS})[^\s\"'<>]*", "[webhook]"),
    (r"\b(bearer )[^\s\"',]+", r"\1[token]"),
    (r"\bgridberry_[A-Za-z0-9_-]{20,}", "[token]"),
    (rf"(signature{_IS})[A-Za-z0-9+/=%_-]{{16,}}", r"\1[signature]"),
    (rf"(key{_IS})[A-Za-z0-9+/=%_-]{{16,}}", r"\1[key]"),
    (rf"((?:secret|token|password){_IS})[^\s\"'&,;]{{8,}}", r"\1[secret]"),
    (r"(?<=://)[^\s/@:]+:[^\s/@]+(?=@)", "[password]"),
)
_FLAGS = re.IGNORECASE | re.DOTALL
_COMPILED = [(re.compile(pattern, _FLAGS), instead) for pattern, instead in _PATTERNS]
_known: dict[str, str] = {}


def remember(secret: str, name: str) -> None:
    """Have a secret taken out from now on.

    Args:
        secret: as it may turn up; one that is too short to be told from words is left alone.
        name: stands in its place.
    """
    for part in secret.splitlines():
        if len(part) >= LEAST_LENGTH:
            _known[part] = name


def redacted(text: str) -> str:
    """The text with the kind of each secret in its place."""
    for pattern, instead in _COMPILED:
        text = pattern.sub(instead, text)
    for secret, name in list(_known.items()):
        text = text.replace(secret, f"[{name}]")
    return text
