"""`python3 -m tests.lab`: see cli.py."""

import sys

from tests.lab.cli import main

sys.exit(main())
