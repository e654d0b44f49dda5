"""What crosses the boundary: ids, rights, refusals, signals, limits, calls, events, work records. Data only.

Rule 1: nothing here decides, reads a clock or touches the world.
Rule 2: everything here is a frozen `msgspec.Struct` or a constant, so it can be written down and read again.
Rule 3: nothing here imports from the rest of agentos; everything else may import this.
"""
