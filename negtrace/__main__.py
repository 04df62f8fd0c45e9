"""`python -m negtrace` is the command line."""

__all__: list[str] = []

import sys

from negtrace.cli import main

sys.exit(main())
