"""Inference as data: what is asked of a model, what it answers, what that used.

Rule 1: no float crosses the boundary; temperature is in thousandths, money in micro-USD.
Rule 2: usage is what the provider counted, field by field; nothing is estimated here.
"""

import msgspec


class Block(msgspec.Struct, frozen=True, tag_field="kind", omit_defaults=True):
    pass


class Text(Block, frozen=True, tag="text"):
    """Words, in a message either way."""

    text: str


class ToolCall(Block, frozen=True, tag="tool_call"):
    """The model asks for a tool."""

    id: str
    name: str
    arguments: str  # JSON as the model wrote it; may be malformed, which is the tool gate's affair


class ToolResult(Block, frozen=True, tag="tool_result", omit_defaults=True):
    """What the tool said, sent back to the model."""

    id: str
    content: str
    is_error: bool = False


Content = Text | ToolCall | ToolResult


class Message(msgspec.Struct, frozen=True):
    """One turn."""

    role: str  # system | user | assistant | tool
    content: tuple[Content, ...]


class Tool(msgspec.Struct, frozen=True):
    """A tool offered to the model."""

    name: str
    description: str
    schema: dict[str, object]  # JSON Schema of its arguments


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One generation asked of a backend."""

    model: str  # the backend's own name for the model; "" means the backend's default
    messages: tuple[Message, ...]
    output_tokens_max: int  # hard bound, also what is reserved
    temperature_milli: int = 0
    tools: tuple[Tool, ...] = ()
    schema: dict[str, object] | None = None  # JSON mode: the answer must match this schema
    stop: tuple[str, ...] = ()
    seed: int | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens as the provider counted them. Input excludes cache reads and writes; output includes reasoning."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All tokens that passed, cached or not. Reasoning is inside output."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came back."""

    content: tuple[Content, ...]
    stop: str  # end | length | tool | refusal | cancelled
    usage: Usage
    model: str  # the model that served, as the provider names it
    provider: str = ""  # for prices: "anthropic", "openai", "local" ...
    upstream_id: str = ""  # the provider's own id of the exchange
    is_metered: bool = True  # False when the provider sent no usage; the charge is then the reservation

    @property
    def text(self) -> str:
        """The words of the answer, tool calls left out."""
        return "".join(block.text for block in self.content if isinstance(block, Text))


class Delta(msgspec.Struct, frozen=True):
    """A piece of an answer as it streams; the last item of a stream is an Answer."""

    text: str


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend can do, so that nothing is asked of it that it silently ignores."""

    has_tools: bool
    has_streaming: bool
    has_json_mode: bool
    context_tokens_max: int
    zone: str = "local"  # local | lan | external: what leaves the building
    family: str = ""  # model family, for separation of duties: "qwen", "claude", "gpt" ...
