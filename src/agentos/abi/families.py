"""Model families by the name of a model, for separation of duties: who judges is not kin to who worked."""

# First match wins. Fine-tunes keep the name of what they were tuned from, so a part of the name is enough.
_FAMILIES: tuple[tuple[str, str], ...] = (
    ("claude", "claude"),
    ("codestral", "mistral"),
    ("devstral", "mistral"),
    ("ministral", "mistral"),
    ("mixtral", "mistral"),
    ("mistral", "mistral"),
    ("deepseek", "deepseek"),
    ("codellama", "llama"),
    ("llama", "llama"),
    ("codegemma", "gemma"),
    ("gemma", "gemma"),
    ("gemini", "gemini"),
    ("qwen", "qwen"),
    ("qwq", "qwen"),
    ("granite", "granite"),
    ("smollm", "smollm"),
    ("kimi", "kimi"),
    ("grok", "grok"),
    ("phi", "phi"),
    ("glm", "glm"),
    ("gpt", "gpt"),
    ("codex", "gpt"),
    ("o1", "gpt"),
    ("o3", "gpt"),
    ("o4", "gpt"),
)


def family_of(model: str) -> str:
    """The family a model's name tells, "" when it tells none. The publisher's prefix ("qwen/...") does not count."""
    name = model.lower().rsplit("/", 1)[-1]
    return next((family for mark, family in _FAMILIES if mark in name), "")
