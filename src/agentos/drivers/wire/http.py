"""One HTTP exchange with a model server, bounded, cancellable and free of secrets.

Rule 1: what goes wrong leaves here as one of the port's exceptions, and no text that leaves contains the key.
Rule 2: an exchange ends with its caller: leaving the block closes the connection, and the server sees it.
Rule 3: no redirect is followed, so that a key goes to the host it was given for and to no other.
Rule 4: nothing is read without a bound, in bytes and in time.
"""

import email.utils
import ipaddress
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec

from agentos.drivers.wire.sse import Event, Overlong, Splitter
from agentos.ports.inference import Garbled, InferenceError, Refused, Throttled, Unreachable

SECOND_NS = 1_000_000_000
WHOLE = "whole"  # name of the one event made of an answer that a server sent whole although a stream was asked for
_EXCERPT_CHARS_MAX = 500  # enough for a provider's sentence, too little to drown a log
_ERROR_BODY_BYTES_MAX = 64 << 10  # an error page is a sentence; whatever is longer is not worth the memory
_RETRY_AFTER_S_MAX = 86_400  # a day; a provider that asks for more is read as "a day"

_THROTTLED = frozenset({429, 503, 529})
_BROKEN = frozenset({408, 409, 425, 500, 502, 504, 520, 522, 524})  # the same request may well succeed later
# 429 is also how some providers say "your account is empty". Waiting does not cure that, so it is a refusal.
_HOPELESS = ("insufficient_quota", "billing_hard_limit_reached", "credit_balance")


class Bounds(NamedTuple):
    """What one exchange may take."""

    answer_bytes_max: int = 64 << 20  # 128k output tokens streamed at about 300 bytes an event make 40 MB
    event_bytes_max: int = 8 << 20  # one streamed event; a whole tool call may come as one
    connect_s: int = 10  # a server that needs longer to accept is not there
    silence_s: int = 600  # no byte for so long; a non-streamed answer is silent until it is whole
    total_s: int = 3600  # the longest single generation that anyone should wait for


BOUNDS = Bounds()


class Secret:
    """A key that shows itself only where it is asked for by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if any(ord(char) < 33 or ord(char) > 126 for char in text):
            raise ValueError("the API key contains a space, a line break or a non-ASCII character; paste it again")
        self._text = text

    def reveal(self) -> str:
        return self._text

    def scrub(self, text: str) -> str:
        """The text with the key struck out, for what a server echoes back."""
        return text.replace(self._text, "[key]") if len(self._text) >= 4 else text  # shorter would strike out words

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret([key])" if self._text else "Secret()"


class Endpoint(NamedTuple):
    """Where a server is and how to be let in."""

    base_url: str
    secret: Secret
    headers: tuple[tuple[str, str], ...] = ()  # sent with each request, the key among them added by `auth`
    auth: str = "bearer"  # bearer | x-api-key


def check_url(base_url: str) -> str:
    """The base URL without its trailing slash; ValueError if it could not be one or carries a password."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base URL {parts.scheme}://{parts.hostname} is not http(s)://HOST; give it in full")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"base URL of {parts.hostname} carries a user, a query or a fragment; put the key in api_key")
    return base_url.rstrip("/")


def zone_of(base_url: str) -> str:
    """How far away a server is: local, lan or external. A name that is not plainly near counts as external."""
    host = urlsplit(base_url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if host == "localhost" or host.endswith(".localhost"):
            return "local"
        is_near = "." not in host or host.endswith((".local", ".lan", ".internal", ".home.arpa"))
        return "lan" if is_near and host else "external"
    if address.is_loopback:
        return "local"
    return "lan" if address.is_private or address.is_link_local else "external"


class Wire:
    """Exchanges with one endpoint over one pool of connections, opened at the first exchange."""

    def __init__(self, endpoint: Endpoint, bounds: Bounds) -> None:
        self.endpoint = endpoint
        self.bounds = bounds
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"Wire({self.endpoint.base_url})"

    async def post_json(self, path: str, body: object, *, key: str) -> dict[str, Any]:
        """The answer to one request, whole."""
        async with self._post(path, body, key=key) as response:
            return parse_object(await self._read(response, self.bounds.answer_bytes_max))

    async def post_events(self, path: str, body: object, *, key: str) -> AsyncGenerator[Event, None]:
        """The events of a streamed answer as they come. Ends when the server closes; a broken line is Unreachable."""
        async with self._post(path, body, key=key) as response:
            if "json" in response.content_type:  # the server did not stream, or says in JSON why it will not
                yield Event(
                    WHOLE, (await self._read(response, self.bounds.answer_bytes_max)).decode("utf-8", "replace")
                )
                return
            splitter, total = Splitter(self.bounds.event_bytes_max), 0
            try:
                async for chunk in response.content.iter_any():
                    total += len(chunk)
                    if total > self.bounds.answer_bytes_max:
                        raise self._too_long()
                    for event in splitter.feed(chunk):
                        yield event
            except Overlong as error:
                raise Garbled(f"{self.host} sent an event {error}") from None

    async def get_json(self, path: str) -> dict[str, Any]:
        async with self._exchange("GET", path, None, {}) as response:
            return parse_object(await self._read(response, self.bounds.answer_bytes_max))

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint.base_url).netloc

    def _post(self, path: str, body: object, *, key: str) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        return self._exchange("POST", path, msgspec.json.encode(body), headers)

    @asynccontextmanager
    async def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = self.endpoint.base_url + path
        try:
            async with self._open().request(
                method, url, data=body, headers={**self._headers(), **headers}, allow_redirects=False
            ) as response:
                if response.status >= 300:
                    raise await self._rejection(response)
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            unsent = Unreachable(self._scrub(f"{self.host} cannot be reached: {_reason(error)}"))
            unsent.is_sent = False  # there was no connection to send it over, so nothing can have been charged
            raise unsent from None
        except TimeoutError as error:
            raise Unreachable(f"{self.host} was silent for too long; is it overloaded?") from error
        except (aiohttp.ClientError, ConnectionError, OSError) as error:
            raise Unreachable(self._scrub(f"{self.host} cannot be reached: {_reason(error)}")) from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            bounds = self.bounds
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(
                    total=bounds.total_s, sock_connect=bounds.connect_s, sock_read=bounds.silence_s
                ),
                cookie_jar=aiohttp.DummyCookieJar(),  # an exchange leaves nothing behind that the next one would carry
                auto_decompress=True,
            )
        return self._session

    def _headers(self) -> dict[str, str]:
        headers = dict(self.endpoint.headers)
        if self.endpoint.secret and self.endpoint.auth == "bearer":
            headers["Authorization"] = f"Bearer {self.endpoint.secret.reveal()}"
        elif self.endpoint.secret:
            headers["x-api-key"] = self.endpoint.secret.reveal()
        return headers

    async def _read(self, response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
        parts, total = [], 0
        async for chunk in response.content.iter_any():
            total += len(chunk)
            if total > bytes_max:
                raise self._too_long()
            parts.append(chunk)
        return b"".join(parts)

    async def _rejection(self, response: aiohttp.ClientResponse) -> InferenceError:
        # The status has said enough already: a body that is too long or breaks off only loses its words.
        try:
            body = await self._read(response, _ERROR_BODY_BYTES_MAX)
        except (Garbled, aiohttp.ClientError, TimeoutError, OSError):
            body = b""
        words = self._scrub(_words_of(body))
        return rejection(response.status, response.headers, f"{self.host} answered {response.status}: {words}", words)

    def _too_long(self) -> Garbled:
        limit = self.bounds.answer_bytes_max
        return Garbled(f"{self.host} sent more than answer_bytes_max = {limit} bytes; raise it if that was honest")

    def _scrub(self, text: str) -> str:
        return self.endpoint.secret.scrub(text)


def rejection(status: int, headers: Mapping[str, str], text: str, words: str) -> InferenceError:
    """What an HTTP status means to the machine: wait, try again, or stop asking."""
    is_final = headers.get("x-should-retry", "").lower() == "false" or any(mark in words for mark in _HOPELESS)
    error: InferenceError
    if status in _THROTTLED and not is_final:
        error = Throttled(text)
    elif status in _BROKEN and not is_final:
        error = Unreachable(text)
    elif 300 <= status < 400:
        error = Refused(f"{text} (redirects are not followed; give the final base URL)")
    else:
        error = Refused(text)
    if error.is_retryable:
        error.retry_after_ns = retry_after_ns(headers)
    return error


def retry_after_ns(headers: Mapping[str, str]) -> int | None:
    """How long the provider asks to wait (RFC 9110 10.2.3, seconds or a date), None if it does not say.

    A date is read against the `Date` of the same answer, so that a wrong clock on either side does no harm.
    """
    try:
        if milli := headers.get("retry-after-ms"):
            return _clamp(float(milli) / 1000)
        value = headers.get("Retry-After", headers.get("retry-after", "")).strip()
        if not value:
            return None
        if value.replace(".", "", 1).isdigit():
            return _clamp(float(value))
        now_s = time.time()
        if sent := headers.get("Date", headers.get("date")):
            now_s = email.utils.parsedate_to_datetime(sent).timestamp()
        return _clamp(email.utils.parsedate_to_datetime(value).timestamp() - now_s)
    except (ValueError, OverflowError):  # not a date either: the provider said nothing that can be read
        return None


def _clamp(seconds: float) -> int:
    return int(min(max(seconds, 0.0), _RETRY_AFTER_S_MAX) * SECOND_NS)


def parse_object(raw: bytes | str) -> dict[str, Any]:
    """The JSON object in `raw`; Garbled if there is none."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Garbled(f"the answer is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Garbled(f"the answer is a JSON {type(value).__name__}, not an object")
    return value


def _words_of(body: bytes) -> str:
    """What an error body says, as one short line: code and message where it has them."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        value = body.decode("utf-8", "replace")
    if isinstance(value, dict):
        value = value.get("error", value)
    if isinstance(value, dict):
        parts = [value.get(field) for field in ("type", "code", "message")]
        value = " ".join(str(part) for part in parts if part) or str(value)
    text = " ".join(str(value).split())
    return "".join(char for char in text if char.isprintable())[:_EXCERPT_CHARS_MAX]


def error_in_stream(error: object, host: str, secret: Secret) -> InferenceError:
    """What an error object inside a stream means; its type takes the place of the status."""
    fields = error if isinstance(error, dict) else {"message": error}
    kind = f"{fields.get('type') or ''} {fields.get('code') or ''}"
    words = secret.scrub(_words_of(msgspec.json.encode({"error": fields})))
    text = f"{host} broke off: {words}"
    if any(mark in words for mark in _HOPELESS):
        return Refused(text)
    if any(mark in kind for mark in ("overloaded", "rate_limit", "429", "503", "529")):
        return Throttled(text)
    if any(mark in kind for mark in ("invalid_request", "authentication", "permission", "not_found", "400")):
        return Refused(text)
    return Unreachable(text)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
