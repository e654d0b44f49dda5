"""What people type as an option's value, read into what it means.

Rule 1: a value that cannot be read is a usage error that says what could be.
"""

from collections.abc import Callable
from typing import Any

import click

from agentos.ui.cli import draft


class _Read(click.ParamType[Any]):
    """A value that a function reads; its ValueError is the person's mistake."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name, self._read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


AMOUNT = _Read("usd", draft.usd)
COMMAND = _Read("command", draft.argv)
