"""The small model on this machine, for a command line: is it here, what would it take, fetch it.

Rule 1: nothing is fetched unless `pull` is called; whoever calls it has asked.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from agentos.drivers import models_store
from agentos.drivers.models_store import QWEN_CODER, Progress, StoreError

__all__ = ["StoreError", "missing_bytes", "path", "pull"]


def _store(env: Mapping[str, str]) -> models_store.Store:
    return models_store.Store(models_store.cache_root(env))


def missing_bytes(env: Mapping[str, str]) -> int:
    """What would have to be fetched; 0 when it is here."""
    return 0 if _store(env).is_present(QWEN_CODER) else QWEN_CODER.size_bytes


def path(env: Mapping[str, str]) -> Path:
    """The model's file, its hash known to be right."""
    return _store(env).verified(QWEN_CODER)


def pull(env: Mapping[str, str], tell: Callable[[str], None], *, with_carriers: bool = False) -> Path:
    """Fetch it; `tell` gets a line for each whole percent."""
    told = -1

    def progress(row: Progress) -> None:
        nonlocal told
        percent = 100 * row.done_bytes // max(row.total_bytes, 1)
        if percent != told:
            told = percent
            tell(f"{row.step}: {percent} % of {row.total_bytes >> 20} MB")

    sources = models_store.sources_of(QWEN_CODER, env, with_carriers=with_carriers)
    return _store(env).pull(QWEN_CODER, sources, tell=progress)
