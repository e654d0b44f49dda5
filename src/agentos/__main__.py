"""`python -m agentos`: the command line."""

import sys

from agentos.ui.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
