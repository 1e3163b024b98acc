"""PUBLISHing the state of rooms to a presence agent elsewhere (RFC 3903, RFC 4575).

    a room changes --> wait a moment --> PUBLISH, all of its state --> 200, SIP-ETag, Expires
    nothing changes for long ----------> PUBLISH, SIP-If-Match, no body: a refresh
    the agent has forgotten it --------> 412 --> PUBLISH anew, this room and all others
    nothing is said for a minute ------> one room's refresh, to notice that
    the room ends --> PUBLISH with nobody in it --> PUBLISH, Expires: 0

There is one publication a room, always of full state: agents that keep documents do not put
them together. Their entity-tags are kept here and not by the focus, so that a focus which was
restarted goes on with them. The server's own restart is a beginning: everything is published,
and what it published before expires.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

from attrs import define, frozen
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.states import Change, ConferenceInfo, ConferenceStates, empty_document
from msrpconf.conference.subscription import Send
from msrpconf.protocols.conference_info import CONFERENCE_INFO
from msrpconf.protocols.line_budget import LineBudget
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.grammar import is_token, parse_number
from msrpconf.protocols.sip.identifiers import new_call_id
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.visible import visible

MOMENT = 0.1
"""Seconds that what happens at once has to come together in one PUBLISH."""

MAX_OUTSTANDING = 32
"""PUBLISHes that may wait for their answers at a time."""

MAX_OUTSTANDING_OCTETS = 524_288
"""Octets of their documents, after which no more begin: one connection carries them all."""

OCTETS_PER_SECOND = 250_000
"""How fast the documents of one room may go out: of a large room they come less often."""

MAX_OCTETS = 1_000_000
"""Those of a document that the channel carries; of a larger room no users are published."""

NO_AGENT = 501
"""The answer of a focus that knows of no presence agent."""

MAX_EXPIRES = 86400
"""Seconds that we let an agent make us promise (423, Min-Expires)."""

PROBE = 60.0
"""Seconds within which an agent that was started again is noticed, though no room changes."""

RETRY = (1.0, 60.0)
"""Seconds to the first retry, and between two at most."""

REFUSED_RETRY = 60.0
"""Seconds to the next try after an answer that says that this will never do."""

ENDED_TRIES = 3
"""How often the end of a room is told to an agent that does not answer; then it expires."""

_MOST = 2**32 - 1

log = Logger()


@frozen
class PublishSettings:
    """Seconds: `interval` between two PUBLISHes of a room, `expires` for which one holds."""

    interval: float = 0.5
    expires: int = 600


class _Said(enum.Enum):
    """What a PUBLISH says."""

    STATE = enum.auto()
    REFRESH = enum.auto()
    EMPTY = enum.auto()
    REMOVAL = enum.auto()


@define(eq=False)
class _Publication:
    """What the agent has, or is to have, of one room."""

    key: str
    info: ConferenceInfo
    call_id: str
    tag: str
    expires: int
    cseq: int = 0
    version: int = 0
    etag: str | None = None
    dirty: bool = True
    """Whether something has changed since the last PUBLISH."""
    ended: bool = False
    emptied: bool = False
    """Whether the agent knows that nobody is there any more."""
    under_way: bool = False
    failures: int = 0
    not_before: float = 0.0
    heard: float = 0.0
    """When the agent last accepted one of its PUBLISHes."""
    timer: IDelayedCall | None = None
    said: _Said = _Said.STATE
    octets: int = 0
    """Those of the last document."""


class Publisher:
    """Publishes every conference of `states`, from `start` on.

    `everything` gives those that there are, with their keys; `send` has the focus send a
    request, `new_tag` gives a tag.
    """

    def __init__(
        self,
        states: ConferenceStates,
        everything: Callable[[], Iterable[tuple[str, ConferenceInfo]]],
        clock: IReactorTime,
        send: Send,
        new_tag: Callable[[], str],
        settings: PublishSettings | None = None,
    ) -> None:
        self.settings = settings or PublishSettings()
        self._everything = everything
        self._clock = clock
        self._send = send
        self._new_tag = new_tag
        self._publications: dict[str, _Publication] = {}
        self._ready: dict[_Publication, None] = {}
        self._outstanding = 0
        self._outstanding_octets = 0
        self._forgotten = float("-inf")
        self._heard = float("-inf")
        self._probe: IDelayedCall | None = None
        self._running = False
        self._failing = False
        self._no_agent = False
        self._finished: Deferred[None] | None = None
        self._budget = LineBudget(clock)
        states.watch(self._changed)

    def __len__(self) -> int:
        return len(self._publications)

    def start(self) -> None:
        """Publish what there is, and what changes."""
        self._running = True
        self._probe = self._clock.callLater(PROBE, self._ask_one)
        self.publish_all()

    def publish_all(self) -> None:
        """Publish everything, as it is now: the way to the agent is new, or the agent is."""
        if not self._running:
            return
        self._no_agent = False
        for key, info in self._everything():
            self._changed(key, info, Change())
        for each in self._publications.values():
            each.not_before, each.failures = 0.0, 0
            self._schedule(each)

    def finish(self) -> Deferred[None]:
        """Take everything back, because the server stops; done when that is answered."""
        self._stop_running()
        if not self._publications:
            return succeed(None)
        for each in self._publications.values():
            each.ended = True
            each.not_before = 0.0
            self._schedule(each, 0.0)
        self._finished = Deferred()
        return self._finished

    def stop(self) -> None:
        """Say no more."""
        self._stop_running()
        self._ready.clear()
        for each in list(self._publications.values()):
            self._forget(each)

    def _stop_running(self) -> None:
        self._running = False
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.cancel()

    # When.

    def _changed(self, key: str, info: ConferenceInfo, change: Change | None) -> None:
        known = self._publications.get(key)
        if known is None:
            if change is None or not self._running:
                return
            expires = self.settings.expires
            known = _Publication(key, info, new_call_id(), self._new_tag(), expires)
            self._publications[key] = known
        known.info = info
        known.dirty = True
        known.ended = change is None or not self._running
        if not known.ended:
            known.emptied = False
        self._schedule(known)

    def _schedule(self, publication: _Publication, delay: float = MOMENT) -> None:
        """Send what is to be said, as soon as it may be."""
        if publication.under_way:
            return  # the answer comes first
        now = self._clock.seconds()
        self._at(publication, max(now + delay, publication.not_before))

    def _at(self, publication: _Publication, when: float) -> None:
        _cancel(publication)
        delay = max(0.0, when - self._clock.seconds())
        publication.timer = self._clock.callLater(delay, self._due, publication)

    def _ask_one(self) -> None:
        """Refresh the publication of which nothing was heard longest: does the agent know it?"""
        self._probe = self._clock.callLater(PROBE, self._ask_one)
        everything = self._publications.values()
        if self._no_agent and everything:
            self._ready[next(iter(everything))] = None
            self._pump()
        elif self._clock.seconds() - self._heard >= PROBE:
            known = [each for each in everything if each.etag is not None]
            if known:
                self._schedule(min(known, key=lambda each: each.heard), 0.0)

    def _due(self, publication: _Publication) -> None:
        publication.timer = None
        if self._no_agent and publication.ended:
            self._forget(publication)
        elif not self._no_agent:
            self._ready[publication] = None
            self._pump()

    def _pump(self) -> None:
        while (
            self._ready
            and self._outstanding < MAX_OUTSTANDING
            and self._outstanding_octets < MAX_OUTSTANDING_OCTETS
        ):
            publication = next(iter(self._ready))
            del self._ready[publication]
            self._publish(publication)

    # What.

    def _publish(self, publication: _Publication) -> None:
        if publication.ended and publication.etag is None:
            self._forget(publication)
            return
        request = self._request(publication)
        publication.under_way = True
        self._outstanding += 1
        self._outstanding_octets += publication.octets
        maybeDeferred(self._send, request).addCallbacks(
            self._answered,
            self._failed,
            callbackArgs=(publication, request),
            errbackArgs=(publication, request),
        )

    def _request(self, publication: _Publication) -> Request:
        uri = publication.info.uri
        publication.cseq += 1
        headers = Headers(
            [
                ("From", f"<{uri}>;tag={publication.tag}"),
                ("To", f"<{uri}>"),
                ("Call-ID", publication.call_id),
                ("CSeq", f"{publication.cseq} PUBLISH"),
                ("Event", "conference"),
            ]
        )
        if publication.etag is not None:
            headers.add("SIP-If-Match", publication.etag)
        said = publication.said = _what_to_say(publication)
        publication.dirty = False
        headers.add("Expires", "0" if said is _Said.REMOVAL else str(publication.expires))
        body = b""
        if said in {_Said.STATE, _Said.EMPTY}:
            headers.add("Content-Type", CONFERENCE_INFO)
            publication.version += 1
            version = publication.version
            info = publication.info
            body = info.full(version) if said is _Said.STATE else empty_document(uri, version)
            if len(body) > MAX_OCTETS:
                body = info.summary(version)
        publication.octets = len(body)
        return Request("PUBLISH", parse_uri(uri), headers, body)

    def _answered(self, response: Response, publication: _Publication, request: Request) -> None:
        self._no_longer_under_way(publication)
        if self._publications.get(publication.key) is not publication:
            return  # stopped
        if response.status < 300:
            self._accepted(response, publication)
        elif response.status == 412:
            self._unknown(publication)
        else:
            self._refused(response, publication)
        self._pump()

    def _failed(self, failure: Failure, publication: _Publication, request: Request) -> None:
        self._answered(request.response(503, failure.getErrorMessage()), publication, request)

    def _no_longer_under_way(self, publication: _Publication) -> None:
        publication.under_way = False
        self._outstanding -= 1
        self._outstanding_octets -= publication.octets

    def _accepted(self, response: Response, publication: _Publication) -> None:
        if self._failing:
            self._failing = False
            log.info("PUBLISH of {room} is accepted again", room=publication.key)
        publication.failures = 0
        if self._no_agent:
            self.publish_all()
        said = publication.said
        etag = response.headers.get("SIP-ETag") or ""
        publication.etag = etag if is_token(etag) and said is not _Said.REMOVAL else None
        now = self._heard = publication.heard = self._clock.seconds()
        if publication.ended:
            if said is _Said.REMOVAL:
                self._forget(publication)
                return
            # What was under way may have been the state before the end.
            publication.emptied = publication.emptied or said is _Said.EMPTY
            self._schedule(publication, 0.0)
            return
        pause = max(self.settings.interval, publication.octets / OCTETS_PER_SECOND)
        publication.not_before = now + pause
        if publication.dirty or publication.etag is None:
            self._schedule(publication)
            return
        holds = _seconds(response, "Expires", publication.expires)
        self._at(publication, now + max(pause, holds * 0.8))

    def _unknown(self, publication: _Publication) -> None:
        """The agent does not know the publication: it has lost it, and then perhaps all."""
        publication.etag = None
        publication.dirty = True
        publication.not_before = 0.0
        now = self._clock.seconds()
        if now - self._forgotten > RETRY[1]:
            self._forgotten = now
            log.info(
                "the presence agent has forgotten {room}: publishing all rooms",
                room=publication.key,
            )
            self.publish_all()
        self._schedule(publication, 0.0)

    def _refused(self, response: Response, publication: _Publication) -> None:
        status = response.status
        publication.dirty = True
        if status == NO_AGENT:
            self._without_agent(response, publication)
            return
        publication.failures += 1
        if not self._failing or publication.failures == 1:
            self._note(response, publication)
        self._failing = True
        if publication.ended and publication.failures >= ENDED_TRIES:
            self._forget(publication)
            return
        first, most = RETRY
        delay = min(most, first * 2.0 ** min(publication.failures - 1, 10))
        if status == 423:
            wanted = _seconds(response, "Min-Expires", publication.expires)
            publication.expires = min(MAX_EXPIRES, max(wanted, publication.expires))
        elif 400 <= status < 500 and status not in {408, 480, 491}:
            delay = REFUSED_RETRY
        delay = max(delay, min(most * 5, _seconds(response, "Retry-After", 0)))
        publication.not_before = self._clock.seconds() + delay
        self._schedule(publication, delay)

    def _without_agent(self, response: Response, publication: _Publication) -> None:
        """Nobody wants to know: ask once in a while whether that is still so."""
        if not self._no_agent:
            self._no_agent = True
            self._note(response, publication)
        if publication.ended:
            self._forget(publication)

    def _note(self, response: Response, publication: _Publication) -> None:
        note = self._budget.take("presence")
        if note is not None:
            log.warn(
                "PUBLISH of {room} failed: {status} {reason} (Call-ID {call_id}){note}",
                room=publication.key,
                status=response.status,
                reason=visible(response.reason),
                call_id=publication.call_id,
                note=note,
            )

    def _forget(self, publication: _Publication) -> None:
        _cancel(publication)
        self._publications.pop(publication.key, None)
        if not self._publications and self._finished is not None:
            finished, self._finished = self._finished, None
            finished.callback(None)


def _what_to_say(publication: _Publication) -> _Said:
    if publication.ended:
        return _Said.REMOVAL if publication.emptied else _Said.EMPTY
    known = publication.etag is not None and not publication.dirty
    return _Said.REFRESH if known else _Said.STATE


def _cancel(publication: _Publication) -> None:
    timer, publication.timer = publication.timer, None
    if timer is not None and timer.active():
        timer.cancel()


def _seconds(response: Response, name: str, default: int) -> int:
    value = response.headers.get(name)
    try:
        return default if value is None else parse_number(value.partition(";")[0].strip(), _MOST)
    except SipSyntaxError:
        return default
