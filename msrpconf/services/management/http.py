"""HTTP for the management interface, and for XCAP: bounded requests in, one log line for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import unquote

from attrs import field, frozen
from twisted.internet import protocol
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http_headers import Headers

from msrpconf.services.management.problem import TYPE, Problem
from msrpconf.visible import visible

MAX_BODY = 2_097_152
"""Octets of a request's body; a room with 10 000 users in its lists takes half of it."""

MAX_CONNECTIONS = 200
"""Connections at one time; more are closed at once."""

IDLE_TIMEOUT = 60
"""Seconds that a connection may be idle, or a request take to come."""

JSON = "application/json"

_QUIET = frozenset({"/metrics", "/healthz", "/readyz"})


@frozen
class Call:
    """A request: `path` without the query, as segments; `query` as text; the octets of `body`.

    `peer` is the host that it comes from.
    """

    method: str
    path: str
    segments: tuple[str, ...]
    query: str
    headers: Headers
    body: bytes
    peer: str = ""


@frozen
class Answer:
    """What a request is answered: a `document` for JSON, or octets of another type.

    `detail` is what the log says besides.
    """

    document: object = None
    status: int = 200
    content: bytes | None = None
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = field(default=())
    detail: str = ""


Handler = Callable[[Call], "Answer | Deferred[Answer]"]
"""Answers a request, or raises `Problem`."""


class ManagementRequest(http.Request):
    """A request, whose body is bounded while it comes."""

    log = Logger()
    content: BytesIO
    _too_long = False

    def gotLength(self, length: int | None) -> None:
        """The length that the client has declared, None for one that it does not know."""
        self.content = BytesIO()
        # What is too long is still read to its end, and goes nowhere.
        self._too_long = length is not None and length > MAX_BODY

    def handleContentChunk(self, data: bytes) -> None:
        """Some of the body."""
        if self._too_long:
            return
        if self.content.tell() + len(data) > MAX_BODY:
            self._too_long = True
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """All of it is here. Forms are not read: nobody has any."""
        self.content.seek(0, 0)
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self._query = path.partition(b"?")
        self.args = {}
        self.process()

    def process(self) -> None:
        """Have the factory's handler answer."""
        maybeDeferred(self._ask).addCallbacks(self._respond, self._failed).addErrback(self._broken)

    def _ask(self) -> Answer | Deferred[Answer]:
        if self._too_long:
            raise Problem(413, f"a body may have {MAX_BODY} octets at most")
        path = self.path.decode("utf-8", "surrogateescape")
        if not path.startswith("/"):
            raise Problem(400, "the request's target must be a path, such as /v1/rooms")
        try:
            segments = tuple(
                unquote(each, errors="strict") for each in path.removeprefix("/").split("/")
            )
        except UnicodeDecodeError:
            raise Problem(400, "the path must be UTF-8, percent-encoded") from None
        factory = self.channel.factory
        assert isinstance(factory, ManagementFactory)
        return factory.handler(
            Call(
                self.method.decode("ascii", "replace"),
                path,
                segments,
                self._query.decode("utf-8", "surrogateescape"),
                self.requestHeaders,
                self.content.read(),
                _peer(self.client),
            )
        )

    def _respond(self, answer: Answer) -> None:
        if self._disconnected:
            return
        content = answer.content
        if content is None:
            content = b"" if answer.document is None else encode(answer.document)
        self.setResponseCode(answer.status)
        for name, value in answer.headers:
            self.responseHeaders.addRawHeader(name, value)
        self.responseHeaders.setRawHeaders("Cache-Control", ["no-store"])
        self.responseHeaders.setRawHeaders("X-Content-Type-Options", ["nosniff"])
        if content or answer.status not in (204, 304):
            self.responseHeaders.setRawHeaders("Content-Type", [answer.content_type])
            self.responseHeaders.setRawHeaders("Content-Length", [str(len(content))])
        self._tell(answer)
        write: Any = self.write
        finish: Any = self.finish
        write(content)
        finish()

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, Problem):
            self.log.failure(
                "{what}: {method} {path} failed",
                failure,
                what=self._what,
                method=visible(self.method.decode("ascii", "replace")),
                path=self._shown,
            )
            error = Problem(500, "the server has a fault: its log says more")
        self._respond(Answer(error.document, error.status, None, TYPE, error.headers))

    def _broken(self, failure: Failure) -> None:
        self.log.failure("{what}: an answer could not be sent", failure, what=self._what)

    @property
    def _what(self) -> str:
        factory = getattr(self.channel, "factory", None)
        return factory.what if isinstance(factory, ManagementFactory) else "http"

    @property
    def _shown(self) -> str:
        # Without the query: what somebody puts there by mistake may be a secret.
        return visible(self.path.decode("utf-8", "replace"))[:300]

    def _tell(self, answer: Answer) -> None:
        if answer.status < 400 and self._shown in _QUIET:
            return
        detail = answer.detail and f" {answer.detail}"
        if isinstance(answer.document, dict) and answer.status >= 400:
            detail = f" {answer.document.get('detail', '')}"
        self.log.info(
            "{what}: {method} {path} of {peer}: {status}{detail}",
            what=self._what,
            method=visible(self.method.decode("ascii", "replace"))[:20],
            path=self._shown,
            peer=_peer(self.client),
            status=answer.status,
            detail=visible(detail),
        )


class _Channel(http.HTTPChannel):
    """A connection, known to its factory while it is open."""

    requestFactory = ManagementRequest

    def connectionMade(self) -> None:
        self.factory.channels.add(self)
        made: Any = super().connectionMade
        made()

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self.factory.channels.discard(self)
        lost: Any = super().connectionLost
        lost(reason)


class ManagementFactory(http.HTTPFactory):
    """Serves HTTP with `handler`; `reactor` keeps time. `what` is its name in the log."""

    noisy = False
    protocol: Any = _Channel
    log_ = Logger()

    def __init__(self, handler: Handler, reactor: Any, what: str = "management") -> None:
        super().__init__(timeout=IDLE_TIMEOUT, reactor=reactor)
        self.what = what
        self.handler = handler
        self.channels: set[Any] = set()

    def startFactory(self) -> None:
        """No access log: each request has its line in ours."""

    def stopFactory(self) -> None:
        """Nothing was opened."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A connection; None, which closes it, where there are too many."""
        if len(self.channels) >= MAX_CONNECTIONS:
            self.log_.warn(
                "{what} connection from {peer} refused: {count} are open",
                what=self.what,
                peer=_peer(addr),
                count=len(self.channels),
            )
            return None
        return super().buildProtocol(addr)

    def log(self, request: http.Request) -> None:
        """See `ManagementRequest`."""


def encode(document: object) -> bytes:
    """JSON, as it is sent: UTF-8, with an end of line for people."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def decode(body: bytes) -> object:
    """The JSON of a body. Raises `Problem` 400."""

    def not_a_number(text: str) -> object:
        raise ValueError(f"{text} is no number of JSON")

    try:
        document: object = json.loads(body.decode("utf-8"), parse_constant=not_a_number)
        # What is half of a character stands for nothing, and no database takes it.
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON in UTF-8: {error}") from None
    return document


def _peer(address: object) -> str:
    host = getattr(address, "host", None)
    return "a local process" if host is None else str(host)
