"""agentos: an operating system for autonomous work. Work orders in, completed work out.

Importing this package imports nothing else; every heavy part is imported where it is used.
"""

__version__ = "0.1.0"
