"""What may happen. Pure: no I/O, clock, randomness, logging, async, float or set iteration."""
