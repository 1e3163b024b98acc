"""What servers have published by way of a focus, which takes it back for those that die.

    server --PUBLISH--> dispatcher --> presence agent       its entity-tag is remembered
    the server is given up: PUBLISH with nobody in it, PUBLISH, Expires: 0 --> presence agent

The agent would else tell watchers only when the publication expires. Where rooms go on at another
server, what that publishes takes the place of what the lost one had: watchers notice nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredSemaphore,
    inlineCallbacks,
    maybeDeferred,
    succeed,
)
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from msrpconf.conference.states import empty_document
from msrpconf.protocols.channel import Handler
from msrpconf.protocols.conference_info import CONFERENCE_INFO
from msrpconf.protocols.line_budget import LineBudget
from msrpconf.protocols.sip.grammar import is_token
from msrpconf.protocols.sip.identifiers import new_call_id, new_tag
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.visible import visible

AT_ONCE = 32
"""PUBLISHes that are under way at one time."""

MAX_ROOMS = 50_000
"""Rooms of one server that are remembered; those beyond are told of when they expire."""

TRIES = 3
"""How often an agent is told that does not answer."""

RETRY = 2.0
"""Seconds from one time to the next."""

MOVING = 10.0
"""Seconds that a room has to go on at another server."""

LEAVING = 30.0
"""Seconds for which nobody is told what a server publishes of a room that people leave for another:
more than they may take."""

_VERSION = re.compile(rb'<conference-info[^>]*\sversion="([0-9]{1,10})"')
_HEAD = 2048
_MOST = 2**32 - 1


@frozen
class _Published:
    """The last that a server has published of a room, over `link`, to hold for so many seconds."""

    uri: str
    etag: str
    link: object
    expires: int = 3600
    version: int = 0


class Publications:
    """Passes the PUBLISHes of servers on to a focus, `to_focus`, and remembers their entity-tags.

    `is_expected` says whether the server of a name is there, or may come back.
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, to_focus: Handler, is_expected: Callable[[str], bool]
    ) -> None:
        self._clock = clock
        self._to_focus = to_focus
        self._is_expected = is_expected
        self._published: dict[str, dict[str, _Published]] = {}
        self._budget = LineBudget(clock)
        self._sending = DeferredSemaphore(AT_ONCE)
        self._moving: dict[str, tuple[str, _Published]] = {}
        self._handed_over: dict[str, dict[str, float]] = {}
        self._timers: set[IDelayedCall] = set()
        self._under_way: dict[Deferred[Any], None] = {}

    def publish(self, server: str, link: object, request: Request) -> Deferred[Response]:
        """Pass on what a server publishes."""
        key = request.uri.key
        until = self._handed_over.get(server, {}).get(key)
        if until is not None and self._clock.seconds() < until:
            return succeed(self._of_the_past(server, request))
        if until is not None:
            # A static room is there still, and may live there again.
            del self._handed_over[server][key]
        moved = None
        if request.body and "SIP-If-Match" not in request.headers:
            moved = self._moving.pop(request.uri.key, None)
        if moved is None:
            answer = self._ask(request)
        else:
            adopting = request.copy()
            adopting.headers.add("SIP-If-Match", moved[1].etag)
            answer = self._ask(adopting).addCallback(self._adopted, request)
        return answer.addCallback(self._answered, server, link, request)

    def _of_the_past(self, server: str, request: Request) -> Response:
        """The answer to a server that publishes that people leave a room for its new place."""
        if request.expires == 0:
            self._handed_over[server].pop(request.uri.key, None)
        etag = request.headers.get("SIP-If-Match") or new_tag()
        expires = 3600 if request.expires is None else request.expires
        headers = (("SIP-ETag", etag), ("Expires", str(expires)))
        return request.response(200, headers=headers)

    def _adopted(self, answer: Response, request: Request) -> Response | Deferred[Response]:
        """The agent has what the lost server published, or it has to be published anew."""
        return self._ask(request) if answer.status == 412 else answer

    def server_gone(self, server: str, moving: bool) -> None:
        """A server is given up: nothing that it has published holds any more.

        If its rooms are `moving`, that is so only if they do not go on elsewhere.
        """
        self._handed_over.pop(server, None)
        self._lost(server, self._published.pop(server, {}), moving)

    def room_handed_over(self, server: str, room: str) -> None:
        """A room of a server that lives goes on at another: watchers are not to notice it."""
        published = self._published.get(server, {}).pop(room, None)
        if published is not None:
            until = self._clock.seconds() + LEAVING
            self._handed_over.setdefault(server, {})[room] = until
            self._lost(server, {room: published}, True)

    def rooms_lost(self, server: str, rooms: Collection[str], link: object, moving: bool) -> None:
        """A server has come back by `link` without these rooms, which are given by their keys.

        What it has published since then is true. See `server_gone`.
        """
        published = self._published.get(server, {})
        lost = [key for key in rooms if key in published and published[key].link is not link]
        self._lost(server, {key: published.pop(key) for key in lost}, moving)

    def _lost(self, server: str, lost: dict[str, _Published], moving: bool) -> None:
        if not (moving and lost):
            self._take_back(server, lost.values())
            return
        for key, each in lost.items():
            before = self._moving.pop(key, None)
            if before is not None:
                self._take_back(before[0], [before[1]])
            self._moving[key] = server, each
        timer: IDelayedCall = self._clock.callLater(
            MOVING, lambda: self._not_moved(timer, server, lost)
        )
        self._timers.add(timer)

    def _not_moved(self, timer: IDelayedCall, server: str, lost: dict[str, _Published]) -> None:
        self._timers.discard(timer)
        waiting = [key for key, each in lost.items() if self._moving.get(key) == (server, each)]
        self._take_back(server, [self._moving.pop(key)[1] for key in waiting])

    def stop(self) -> None:
        """Say no more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._moving.clear()
        self._handed_over.clear()
        # Those that wait first: else each that ends would let the next one begin.
        for each in reversed(list(self._under_way)):
            each.cancel()
        self._published.clear()

    def _ask(self, request: Request) -> Deferred[Response]:
        ask: Callable[[Request], Any] = self._to_focus
        return maybeDeferred(ask, request)

    def _answered(self, answer: Response, server: str, link: object, request: Request) -> Response:
        published = self._published.setdefault(server, {})
        key = request.uri.key
        before = published.get(key)
        if answer.status == 412:
            published.pop(key, None)
        if answer.status >= 300:
            return answer
        etag = (answer.headers.get("SIP-ETag") or "").strip()
        if request.expires == 0 or not is_token(etag):
            published.pop(key, None)
            return answer
        version = _VERSION.search(request.body[:_HEAD])
        known = _Published(
            str(request.uri),
            etag,
            link,
            request.expires or 3600,
            int(version[1]) if version else before.version if before else 0,
        )
        if not self._is_expected(server):
            # It was given up while this was under way.
            self._take_back(server, [known])
        elif before is not None or len(published) < MAX_ROOMS:
            published[key] = known
        return answer

    def _take_back(self, server: str, lost: Collection[_Published]) -> None:
        if not lost:
            return
        self.log.info(
            "server {name}: telling the presence agent that {count} rooms have ended",
            name=server,
            count=len(lost),
        )
        for each in lost:
            ending: Deferred[Any] = self._sending.run(self._end, each)
            self._under_way[ending] = None
            ending.addBoth(partial(self._ended, ending))

    def _ended(self, ending: Deferred[Any], _: object) -> None:
        self._under_way.pop(ending, None)

    @inlineCallbacks
    def _end(self, lost: _Published) -> Any:
        """First with nobody in it: some agents tell the last document when it is removed."""
        request = _nobody(lost)
        answer: Response = yield self._tell(request)
        etag = (answer.headers.get("SIP-ETag") or "").strip()
        if answer.status < 300 and is_token(etag):
            request = _removal(evolve(lost, etag=etag), request)
            answer = yield self._tell(request)
        if answer.status < 300 or answer.status == 412:
            return  # 412: it has expired, or another has taken its place
        note = self._budget.take("presence")
        if note is not None:
            self.log.warn(
                "PUBLISH of the end of {room} failed: {status} {reason} (Call-ID {call_id}){note}",
                room=visible(lost.uri),
                status=answer.status,
                reason=visible(answer.reason),
                call_id=request.call_id,
                note=note,
            )

    @inlineCallbacks
    def _tell(self, request: Request) -> Any:
        """The final response, of as many tries as it takes."""
        for number in range(1, TRIES + 1):
            sent = request.copy()
            sent.headers.set("CSeq", f"{request.cseq.number + number - 1} PUBLISH")
            try:
                answer: Response = yield self._ask(sent)
            except CancelledError:
                raise  # we have been stopped
            except Exception as error:  # whatever it is, there was no answer
                answer = request.response(503, str(error))
            if number == TRIES or (answer.status < 500 and answer.status != 408):
                break
            yield deferLater(self._clock, RETRY * number)
        return answer


def _request(lost: _Published, expires: int, headers: Headers, body: bytes = b"") -> Request:
    for name, value in (
        ("Event", "conference"),
        ("SIP-If-Match", lost.etag),
        ("Expires", str(expires)),
    ):
        headers.add(name, value)
    if body:
        headers.add("Content-Type", CONFERENCE_INFO)
    return Request("PUBLISH", parse_uri(lost.uri), headers, body)


def _nobody(lost: _Published) -> Request:
    headers = Headers(
        [
            ("From", f"<{lost.uri}>;tag={new_tag()}"),
            ("To", f"<{lost.uri}>"),
            ("Call-ID", new_call_id()),
            ("CSeq", "1 PUBLISH"),
        ]
    )
    version = min(lost.version + 1, _MOST)
    return _request(lost, lost.expires, headers, empty_document(lost.uri, version))


def _removal(lost: _Published, before: Request) -> Request:
    names = "From", "To", "Call-ID"
    headers = Headers([(name, before.headers.get(name) or "") for name in names])
    headers.add("CSeq", f"{before.cseq.number + TRIES} PUBLISH")
    return _request(lost, 0, headers)
