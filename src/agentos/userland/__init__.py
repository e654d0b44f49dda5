"""Ordinary programs above the boundary. They hold no privilege that a stranger's program could not be granted."""
