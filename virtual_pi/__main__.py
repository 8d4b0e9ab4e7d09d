"""`python3 -m virtual_pi`."""

import sys

from virtual_pi.cli import main

sys.exit(main())
