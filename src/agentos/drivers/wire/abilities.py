"""What a backend cannot do is refused before it is asked, because most servers would drop it without a word."""

from agentos.abi.inference import Abilities, Request
from agentos.ports.inference import Refused


def check_abilities(request: Request, abilities: Abilities, name: str) -> None:
    """Refused if `request` asks for something that the backend `name` does not have."""
    if not request.messages:
        raise Refused(f"{name} was asked nothing; the request has no messages")
    if request.output_tokens_max < 1:
        raise Refused(f"output_tokens_max is {request.output_tokens_max}; an answer needs at least 1")
    if request.tools and not abilities.has_tools:
        raise Refused(f"{name} cannot call tools; ask without them, or choose another backend")
    if request.schema is not None and not abilities.has_json_mode:
        raise Refused(f"{name} has no JSON mode; ask without a schema, or choose another backend")
