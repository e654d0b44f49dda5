"""Signals: what one process may tell another to do, without its consent."""

from enum import StrEnum


class Signal(StrEnum):
    """KILL, STOP and CONT are the kernel's to carry out; the others arrive as mail of kind "signal"."""

    TERM = "TERM"  # please end; mail
    KILL = "KILL"  # ends now; cannot be caught, and nothing the process had in flight is awaited
    STOP = "STOP"  # no call of it is answered until CONT
    CONT = "CONT"
    CHLD = "CHLD"  # a child has ended; mail to the parent
    BUDGET = "BUDGET"  # 80 % of a budget is used up; mail
    HUP = "HUP"  # read your configuration again; mail
