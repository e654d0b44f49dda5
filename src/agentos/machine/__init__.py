"""What makes it happen: the loop, the trap, the journal's codec, recovery, effects performed through ports."""
