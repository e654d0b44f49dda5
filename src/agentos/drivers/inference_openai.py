"""Models behind the Chat Completions wire: OpenAI, and vLLM, Ollama, llama.cpp, LM Studio and gateways by base URL.

Rule 1: it translates and counts. It chooses no model, tries nothing twice and knows no price.
Rule 2: the key is in no repr, no error and no log.
Rule 3: its abilities are what it was told about the server; where nothing was told it promises the least that is
        true of every server of this wire.
"""

import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from agentos.abi.families import family_of
from agentos.abi.inference import Abilities, Answer, Delta, Request
from agentos.drivers.wire import openai
from agentos.drivers.wire.chat import Chat
from agentos.drivers.wire.http import BOUNDS, Bounds, Endpoint, Secret, Wire, check_url, zone_of

OFFICIAL_URL = "https://api.openai.com/v1"
CONTEXT_TOKENS_MAX = 128_000  # every current model of the official endpoint has at least this
# OpenAI's models that still sample by temperature. All later ones reason, and answer 400 to the field.
_SAMPLED = re.compile(r"^(ft:)?(gpt-3|gpt-4|chatgpt-4)")


class OpenAI:
    """One server of the Chat Completions wire."""

    def __init__(
        self,
        *,
        base_url: str = OFFICIAL_URL,
        api_key: str = "",
        model: str = "",
        name: str = "openai",
        provider: str = "",
        zone: str = "",
        family: str = "",
        context_tokens_max: int = CONTEXT_TOKENS_MAX,
        has_tools: bool = True,
        has_json_mode: bool = True,
        takes_temperature: bool | None = None,
        takes_stream_options: bool = True,
        bounds: Bounds = BOUNDS,
    ) -> None:
        self.name = name
        self._url = check_url(base_url)
        self._model = model
        self._takes_temperature = takes_temperature
        self._zone = zone or zone_of(self._url)
        self._abilities = Abilities(
            has_tools=has_tools,
            has_streaming=True,
            has_json_mode=has_json_mode,
            context_tokens_max=context_tokens_max,
            zone=self._zone,
            family=family or family_of(model),
        )
        self._wire = Wire(Endpoint(self._url, Secret(api_key)), bounds)
        self._provider = provider or ("openai" if self._is_official else self._zone)
        self._takes_stream_options = takes_stream_options

    def __repr__(self) -> str:
        return f"OpenAI({self._url}, model={self._model!r})"

    def abilities(self) -> Abilities:
        return self._abilities

    async def generate(self, request: Request, *, key: str) -> Answer:
        return await self._chat(request).generate(request, key=key)

    def stream(self, request: Request, *, key: str) -> AsyncIterator[Delta | Answer]:
        return self._chat(request).stream(request, key=key)

    async def models(self) -> tuple[str, ...]:
        """The names of the models that the server offers."""
        return openai.models_of(await self._wire.get_json("/models"))

    async def close(self) -> None:
        await self._wire.close()

    @property
    def _is_official(self) -> bool:
        return urlsplit(self._url).hostname == urlsplit(OFFICIAL_URL).hostname

    def _chat(self, request: Request) -> Chat:
        takes_temperature = self._takes_temperature
        if takes_temperature is None:
            takes_temperature = not self._is_official or bool(_SAMPLED.match(request.model or self._model))
        accent = openai.Accent(
            output_field="max_completion_tokens" if self._is_official else "max_tokens",
            takes_temperature=takes_temperature,
            takes_stream_options=self._takes_stream_options,
        )
        return Chat(
            self._wire,
            name=self.name,
            abilities=self._abilities,
            model=self._model,
            provider=self._provider,
            accent=accent,
        )
