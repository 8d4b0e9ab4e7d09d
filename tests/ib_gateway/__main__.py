"""Runs what the role ib_gateway must show, on machines of Debian trixie that it makes.

sudo python -m tests.ib_gateway [NAME ...]
"""

from __future__ import annotations

import argparse
import sys

from tests.ib_gateway.scenarios import SCENARIOS
from tests.run_scenarios import run_scenarios

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    sys.exit(run_scenarios("tests.ib_gateway", SCENARIOS, parser))
