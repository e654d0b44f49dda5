"""The working copy through tools: what there is, what a file holds, and writing one.

Rule 1: a file that a tool shows cut or escaped is not known, and what is not known is never written back.
"""

from typing import NamedTuple

from agentos.sdk import System
from agentos.sdk.errors import Refused

TOOLS = ("list_files", "read_file", "write_file", "search_files")  # what a program that writes files asks for

_NOTES = ("[lines ", "[what is not UTF-8", "[... ")  # how the file tools say that this is not all, or not as it is


class Unreadable(Exception):
    """The file cannot be shown whole; the message says why."""


class Unwritable(Exception):
    """The file cannot be written; the message says why."""


class Tree(NamedTuple):
    """The files of the working copy."""

    paths: tuple[str, ...]
    is_cut: bool  # there are more


async def tree(os: System) -> Tree:
    """All files, as far as the tool lists them."""
    listed, is_error = await os.invoke("list_files")
    if is_error:
        raise Unreadable(listed)
    lines = listed.split("\n")
    paths = (one for one in lines if one and not one.startswith("[") and not one.endswith(("/", ")")))
    return Tree(
        tuple(paths),
        any(one.startswith("[") and "more than" in one for one in lines) or "characters left out" in listed,
    )


async def content(os: System, path: str) -> str | None:
    """A file's text with its last line end, None where there is no such file; Unreadable where it cannot be shown whole."""
    text, is_error = await os.invoke("read_file", path=path)
    if is_error:
        if "does not exist" in text:
            return None
        raise Unreadable(text)
    last = text.rsplit("\n", 1)[-1]
    if text == f"[{path} is empty]":
        return ""
    if last.startswith(_NOTES) or f"{path} is not text:" in text or "\n[... " in text:
        raise Unreadable(f"{path} is too long, or no plain text; another agent has to change it")
    return text + "\n"


async def write(os: System, path: str, text: str) -> str:
    """Replace a file; what went wrong, or ""."""
    said, is_error = await os.invoke("write_file", path=path, content=text)
    return said if is_error else ""


async def search(os: System, words: str) -> tuple[str, ...]:
    """The files that hold these words, in the order of the hits; none where searching is not to be had."""
    try:
        hits, is_error = await os.invoke("search_files", pattern=words, is_literal=True)
    except Refused:
        return ()
    if is_error:
        return ()
    return tuple(dict.fromkeys(hit.split(":", 1)[0] for hit in hits.split("\n") if ":" in hit and hit[0] != "["))
