"""The laws, held over the whole state. Placeholder header, replaced by the full table of laws."""

from agentos.kernel.state import State


def faults(state: State) -> list[str]:
    """What is wrong with a state; empty when every law holds."""
    return []
