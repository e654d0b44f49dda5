"""Where the command line begins.

Rule 1: a help page is printed from the table and loads nothing else; any other word loads click and one command.
"""

import os
import sys

from agentos.ui.cli import table


def main(words: list[str] | None = None) -> int:
    """Run one command line, and say its exit status."""
    words = sys.argv[1:] if words is None else words
    page = table.page(words) if "_AGENTOS_COMPLETE" not in os.environ else None
    if page is not None:
        sys.stdout.write(page)
        return table.OK
    from agentos.ui.cli import shell

    return shell.run(words)
