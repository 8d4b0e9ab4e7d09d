"""`python -m gridexchange` is the `gridexchange` command."""

from gridexchange.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
