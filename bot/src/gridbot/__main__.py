"""`python -m gridbot` is the `gridbot` command."""

from gridbot.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
