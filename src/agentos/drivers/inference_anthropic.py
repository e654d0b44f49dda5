"""Models behind the Messages wire: Anthropic, and gateways and local servers that speak it, by base URL.

Rule 1: it translates and counts. It chooses no model, tries nothing twice and knows no price.
Rule 2: the key is in no repr, no error and no log.
Rule 3: the wire has no seed; a request's seed is dropped, which changes nothing that anyone may rely on.
"""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from urllib.parse import urlsplit

from agentos.abi.families import family_of
from agentos.abi.inference import Abilities, Answer, Delta, Request
from agentos.drivers.wire import anthropic
from agentos.drivers.wire.abilities import check_abilities
from agentos.drivers.wire.http import (
    BOUNDS,
    WHOLE,
    Bounds,
    Endpoint,
    Secret,
    Wire,
    check_url,
    error_in_stream,
    parse_object,
    zone_of,
)
from agentos.ports.inference import Refused

OFFICIAL_URL = "https://api.anthropic.com"
_PATH = "/v1/messages"
CONTEXT_TOKENS_MAX = 200_000  # every current model has at least this
# Models that still take a temperature, and those that have no output_config.format. Later ones are the other way
# round, so a model that is not listed here is asked as the newest are.
_SAMPLED = re.compile(r"^claude-(v1|2|3|instant|(opus|sonnet|haiku)-4-[0-6](-|$)|(opus|sonnet)-4-\d{8})")
_WITHOUT_FORMAT = re.compile(r"^claude-(v1|2|3|instant|(opus|sonnet)-4-[01](-|$)|(opus|sonnet)-4-\d{8})")


class Anthropic:
    """One server of the Messages wire."""

    def __init__(
        self,
        *,
        api_key: str = "",
        model: str = "",
        base_url: str = OFFICIAL_URL,
        name: str = "anthropic",
        provider: str = "",
        zone: str = "",
        family: str = "",
        context_tokens_max: int = CONTEXT_TOKENS_MAX,
        has_tools: bool = True,
        takes_temperature: bool | None = None,
        json_by: str = "",
        caches_prefix: bool = False,
        bounds: Bounds = BOUNDS,
    ) -> None:
        if json_by not in ("", "tool", "format", "none"):
            raise ValueError(f"json_by {json_by!r} is not one of tool, format, none")
        self.name = name
        # The base URL is given with and without /v1 in the wild; both mean the same server.
        self._url = check_url(base_url).removesuffix("/v1")
        self._model = model
        self._takes_temperature = takes_temperature
        self._json_by = json_by
        self._caches_prefix = caches_prefix
        zone = zone or zone_of(self._url)
        self._abilities = Abilities(
            has_tools=has_tools,
            has_streaming=True,
            has_json_mode=json_by != "none",
            context_tokens_max=context_tokens_max,
            zone=zone,
            family=family or family_of(model),
        )
        self._provider = provider or ("anthropic" if self._is_official else zone)
        headers = (("anthropic-version", anthropic.VERSION),)
        self._wire = Wire(Endpoint(self._url, Secret(api_key), headers, auth="x-api-key"), bounds)

    def __repr__(self) -> str:
        return f"Anthropic({self._url}, model={self._model!r})"

    def abilities(self) -> Abilities:
        return self._abilities

    async def generate(self, request: Request, *, key: str) -> Answer:
        model, body = self._ask(request, is_streamed=False)
        raw = await self._wire.post_json(_PATH, body, key=key)
        return self._answer(raw, model)

    async def stream(self, request: Request, *, key: str) -> AsyncIterator[Delta | Answer]:
        model, body = self._ask(request, is_streamed=True)
        assembly = anthropic.Assembly()
        async with aclosing(self._wire.post_events(_PATH, body, key=key)) as events:
            async for event in events:
                raw = parse_object(event.content)
                if event.name == WHOLE:
                    answer = self._answer(raw, model)
                    yield Delta(answer.text)
                    yield answer
                    return
                self._check(raw)
                if words := assembly.take(raw):
                    yield Delta(words)
                if assembly.is_done:
                    break
        yield self._answer(assembly.whole(), model)

    async def close(self) -> None:
        await self._wire.close()

    @property
    def _is_official(self) -> bool:
        return urlsplit(self._url).hostname == urlsplit(OFFICIAL_URL).hostname

    def _ask(self, request: Request, *, is_streamed: bool) -> tuple[str, anthropic.Json]:
        model = request.model or self._model
        if not model:
            raise Refused(f"{self.name} was asked for no model by name; set AOS_LLM_MODEL or the request's model")
        check_abilities(request, self._abilities, self.name)
        sampled, formless = _SAMPLED.match(model), _WITHOUT_FORMAT.match(model)
        is_known = self._is_official and not formless
        accent = anthropic.Accent(
            # A server that only speaks the wire has models of its own, which take a temperature as a rule.
            takes_temperature=bool(sampled) or not model.startswith("claude")
            if self._takes_temperature is None
            else self._takes_temperature,
            json_by=self._json_by or ("format" if is_known else "tool"),
            caches_prefix=self._caches_prefix,
        )
        return model, anthropic.body_of(request, model=model, accent=accent, is_streamed=is_streamed)

    def _answer(self, raw: anthropic.Json, model: str) -> Answer:
        self._check(raw)
        return anthropic.answer_of(raw, model=model, provider=self._provider)

    def _check(self, raw: anthropic.Json) -> None:
        if raw.get("type") == "error" or raw.get("error"):
            raise error_in_stream(raw.get("error"), self._wire.host, self._wire.endpoint.secret)
