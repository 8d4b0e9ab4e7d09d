"""The exceptions that users see, as one line."""


class VirtualPiError(Exception):
    """Something that the user can act on; its text is the whole message."""


class UsageError(VirtualPiError):
    """A setting that cannot be: nothing has been done."""
