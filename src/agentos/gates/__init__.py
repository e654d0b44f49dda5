"""How callers outside this process reach the trap. A gate authenticates and translates; it decides nothing."""
