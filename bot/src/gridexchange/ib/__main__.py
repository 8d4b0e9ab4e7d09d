"""`python -m gridexchange.ib`."""

import sys

from gridexchange.ib.cli import main

sys.exit(main())
