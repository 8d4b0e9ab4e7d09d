"""The one exception that users see, as one line."""


class VirtualPiError(Exception):
    """Something that the user can act on; its text is the whole message."""
