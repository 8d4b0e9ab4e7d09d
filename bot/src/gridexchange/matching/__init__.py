"""Orders, the rules that they keep to, and what trades do to the account. Pure."""
