"""The clock port: the only source of time. The kernel sees time as an argument, the machine asks here.

Rule 1: `wall_ns` may jump; `monotonic_ns` never goes back. Leases count on the second, people read the first.
"""

from typing import Protocol


class Clock(Protocol):
    def wall_ns(self) -> int: ...
    def monotonic_ns(self) -> int: ...
