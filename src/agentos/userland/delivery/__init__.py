"""From an issue to a merged branch."""
