"""A generation over Chat Completions, whole or streamed. Both the remote and the local driver speak through here."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from agentos.abi.inference import Abilities, Answer, Delta, Request
from agentos.drivers.wire import openai
from agentos.drivers.wire.abilities import check_abilities
from agentos.drivers.wire.http import WHOLE, Wire, error_in_stream, parse_object

_PATH = "/chat/completions"


class Chat:
    """One server's Chat Completions under one name and one price list."""

    def __init__(
        self, wire: Wire, *, name: str, abilities: Abilities, model: str, provider: str, accent: openai.Accent
    ) -> None:
        self._wire = wire
        self._name = name
        self._abilities = abilities
        self._model = model
        self._provider = provider
        self._accent = accent

    async def generate(self, request: Request, *, key: str) -> Answer:
        check_abilities(request, self._abilities, self._name)
        model = request.model or self._model
        body = openai.body_of(request, model=model, accent=self._accent, is_streamed=False)
        raw = await self._wire.post_json(_PATH, body, key=key)
        self._check(raw)
        return openai.answer_of(raw, model=model, provider=self._provider)

    async def stream(self, request: Request, *, key: str) -> AsyncGenerator[Delta | Answer, None]:
        check_abilities(request, self._abilities, self._name)
        model = request.model or self._model
        body = openai.body_of(request, model=model, accent=self._accent, is_streamed=True)
        assembly = openai.Assembly()
        async with aclosing(self._wire.post_events(_PATH, body, key=key)) as events:
            async for event in events:
                if event.content.strip() == "[DONE]":
                    assembly.end()
                    break
                raw = parse_object(event.content)
                self._check(raw)
                if event.name == WHOLE:
                    answer = openai.answer_of(raw, model=model, provider=self._provider)
                    yield Delta(answer.text)
                    yield answer
                    return
                if words := assembly.take(raw):
                    yield Delta(words)
        yield openai.answer_of(assembly.whole(), model=model, provider=self._provider)

    def _check(self, raw: dict[str, object]) -> None:
        # Some servers answer 200 and put the failure inside, streamed or not.
        if raw.get("error"):
            raise error_in_stream(raw["error"], self._wire.host, self._wire.endpoint.secret)
