"""Token counts out of a provider's own usage object, field by field.

Rule 1: a count that contradicts itself, or says that words cost nothing, is no count: the exchange is then unmetered
        and is charged at its reservation. So a lying or broken server cannot work for free.
Rule 2: the same object gives the same counts, streamed or not.
"""

from agentos.abi.inference import Usage

Counted = tuple[Usage, bool]  # the counts, and whether they are to be believed
UNMETERED: Counted = (Usage(), False)


def from_openai(raw: object, *, has_words: bool) -> Counted:
    """Chat Completions counts prompt with its cached part inside; ours has it outside."""
    if not isinstance(raw, dict):
        return UNMETERED
    prompt, completion = raw.get("prompt_tokens"), raw.get("completion_tokens", 0)
    inside = _fields(raw.get("prompt_tokens_details"))
    read = inside.get("cached_tokens", raw.get("prompt_cache_hit_tokens"))  # the second is DeepSeek's spelling
    written = inside.get("cache_write_tokens", inside.get("cache_creation_tokens"))
    reasoning = _fields(raw.get("completion_tokens_details")).get("reasoning_tokens")
    counts = _counts(prompt, completion, read or 0, written or 0, reasoning or 0)
    if counts is None:
        return UNMETERED
    prompt, completion, read, written, reasoning = counts
    # xAI and some others keep reasoning outside completion; only their total tells.
    if reasoning and raw.get("total_tokens") == prompt + completion + reasoning:
        completion += reasoning
    fresh = prompt - read - written
    return _believed(fresh, completion, read, written, reasoning, has_words=has_words)


def from_anthropic(raw: object, *, has_words: bool) -> Counted:
    """Messages counts cached input outside already."""
    if not isinstance(raw, dict):
        return UNMETERED
    reasoning = _fields(raw.get("output_tokens_details")).get("thinking_tokens")
    counts = _counts(
        raw.get("input_tokens"),
        raw.get("output_tokens"),
        raw.get("cache_read_input_tokens") or 0,
        raw.get("cache_creation_input_tokens") or 0,
        reasoning or 0,
    )
    if counts is None:
        return UNMETERED
    fresh, output, read, written, reasoning = counts
    return _believed(fresh, output, read, written, reasoning, has_words=has_words)


def _fields(raw: object) -> dict[str, object]:
    return raw if isinstance(raw, dict) else {}


def _counts(*values: object) -> tuple[int, ...] | None:
    """The values if each is a whole number that is not negative, else None."""
    counts = tuple(value for value in values if type(value) is int and value >= 0)
    return counts if len(counts) == len(values) else None


def _believed(fresh: int, output: int, read: int, written: int, reasoning: int, *, has_words: bool) -> Counted:
    is_free = fresh + read + written == 0 or (has_words and output == 0)
    if fresh < 0 or reasoning > output or is_free:
        return UNMETERED
    usage = Usage(
        input_tokens=fresh,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
    )
    return usage, True
