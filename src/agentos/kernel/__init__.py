"""What may happen. Pure: no I/O, clock, randomness, logging, async, float or set iteration.

    decide(state, entry, call) -> Decision      asks, changes nothing
    apply(state, event, at_ns)                  changes, asks nothing
    due(state) -> call | None                   what the state itself demands next
    faults(state) -> [str]                      the laws, held over the whole state

First reading: process.py, decide.py, apply.py.
"""
