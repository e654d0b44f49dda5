"""What a repository has, as far as an order is concerned: the survey, the base commit, what is not committed.

Rule 1: the base commit is surveyed, not the working copy: that is what the work starts from.
"""

from pathlib import Path

from agentos.ui.cli import repository
from agentos.ui.cli.draft import Ground
from agentos.userland.delivery.survey import survey


def ground(start: Path, base: str = "HEAD") -> Ground:
    """The repository that holds this folder, looked over at the commit that `base` means."""
    root, commit, named = repository.place(start, base)
    found = survey(repository.files(root, commit), lambda path: repository.content(root, commit, path))
    return Ground(
        repository=str(root),
        base=commit,
        named=named,
        checks=found.checks,
        scope=found.scope,
        notes=found.notes,
        uncommitted=repository.uncommitted(root),
    )
