"""Conferences that somebody else PUBLISHes: the event state compositor (RFC 3903, RFC 4575).

    PUBLISH, a full document ----> the conference is there; a Change is what differs from before
    PUBLISH, SIP-If-Match, no body --> it holds longer
    PUBLISH, Expires: 0, or none in time --> it has ended

A conference has one publication of each publisher, which is the server that the From tag names.
Who begins another takes the place of its own: it has started again, and knows of no entity-tag. A
room that is set up is there on several servers, and lives on one of them; one that is moved is on
two for a moment, all in it on the new one. What counts is the last publication with somebody in it;
of those of the last minute that with the most people.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from msrpconf.conference.composing import Composed, KeptPublication, Publication
from msrpconf.conference.decision import Denied
from msrpconf.conference.roles import Role
from msrpconf.conference.states import Change, ConferenceInfo, Watcher
from msrpconf.protocols import conference_info as xml
from msrpconf.protocols.conference_info import (
    CONFERENCE_INFO,
    ConferenceState,
    Description,
    Host,
    User,
)
from msrpconf.protocols.conference_info_reading import MAX_OCTETS, Document, read_document
from msrpconf.protocols.line_budget import LineBudget
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.grammar import is_token
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.protocols.xml import XmlError
from msrpconf.protocols.xml_writing import as_uri
from msrpconf.visible import visible

MAX_PUBLISHERS = 16
"""Publications of one conference; of more, that goes which expires first."""

MAX_NAME = 64
"""Characters of what a publisher is called."""

log = Logger()


@frozen
class PublicationSettings:
    """Times are in seconds: of who does not say, the least and the most that one may say."""

    expires: int = 3600
    min_expires: int = 60
    max_expires: int = 3600
    max_conferences: int = 20000
    max_octets: int = MAX_OCTETS
    """Octets of one document."""


@frozen
class _Kept:
    """A user, and the element that tells of them."""

    user: User
    octets: bytes


class PublishedConference:
    """One conference as its last document has it. A `ConferenceInfo`."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._description = Description()
        self._host = Host()
        self._state = ConferenceState()
        self._users: dict[str, _Kept] = {}
        self._present: dict[str, Role] = {}

    def full(self, version: int) -> bytes:
        users = xml.users_element(each.octets for each in self._users.values())
        return xml.document(self.uri, "full", version, (*self._about(), users))

    def partial(self, change: Change, version: int) -> bytes:
        parts: list[bytes] = []
        if change.description_changed:
            parts += (xml.description_element(self._description), xml.host_element(self._host))
        if change.state_changed:
            parts.append(xml.state_element(self._state))
        entities = sorted(change.users_changed | change.users_deleted)
        if entities:
            parts.append(xml.users_element(map(self._element_now, entities), "partial"))
        return xml.document(self.uri, "partial", version, parts)

    def summary(self, version: int) -> bytes:
        return xml.document(self.uri, "full", version, (*self._about(), xml.users_element(())))

    def has_user(self, key: str) -> bool:
        return key in self._present

    def has_owner(self, key: str) -> bool:
        return self._present.get(key) is Role.OWNER

    def role(self, key: str) -> Role | None:
        """What a user is in the conference, None for who is not in it."""
        return self._present.get(key)

    def _about(self) -> tuple[bytes, ...]:
        return (
            xml.description_element(self._description),
            xml.host_element(self._host),
            xml.state_element(self._state),
        )

    def _element_now(self, entity: str) -> bytes:
        kept = self._users.get(entity)
        return xml.deleted_user_element(entity) if kept is None else kept.octets

    def update(self, document: Document) -> Change:
        """Be as a full document says; what is different now."""
        before = self._users
        self._users = {}
        self._present = {}
        changed = []
        told = () if document.users is None else document.users.users
        for part in told:
            user = part.user
            if part.state == "deleted":
                continue
            entity = as_uri(user.entity)
            kept = before.get(entity)
            if kept is None or kept.user != user:
                changed.append(entity)
                kept = _Kept(user, xml.user_element(user))
            self._users[entity] = kept
            if user.is_present:
                self._present[_key(user.entity)] = _role(user)
        description = document.description or Description()
        host, state = document.host or Host(), document.conference_state or ConferenceState()
        change = Change(
            frozenset(changed),
            frozenset(before.keys() - self._users.keys()),
            (description, host) != (self._description, self._host),
            state != self._state,
        )
        self._description, self._host, self._state = description, host, state
        return change


class PublishedStates:
    """Takes PUBLISHes, and gives what they say as `ConferenceStates`.

    Who may publish, and for which conferences, is decided before. `on_kept` is told of the key of
    a conference and of a publisher when what `kept` gives of these is different.
    """

    def __init__(self, clock: IReactorTime, settings: PublicationSettings | None = None) -> None:
        self.settings = settings or PublicationSettings()
        self.on_kept: Callable[[str, str], None] = lambda key, publisher: None
        self._clock = clock
        self._conferences: dict[str, Composed] = {}
        self._watchers: list[Watcher] = []
        self._budget = LineBudget(clock)

    def __len__(self) -> int:
        return len(self._conferences)

    def __iter__(self) -> Iterator[str]:
        """The keys of the conferences."""
        return iter(list(self._conferences))

    def find(self, key: str) -> ConferenceInfo | None:
        """See `ConferenceStates`."""
        found = self._conferences.get(key)
        return None if found is None else found.conference

    def role(self, key: str, user: Iterable[str]) -> Role | None:
        """What the user of these URIs, in canonical form, is in a conference; None if not in it."""
        found = self._conferences.get(key)
        roles = () if found is None else map(found.conference.role, user)
        return max((each for each in roles if each is not None), default=None)

    def watch(self, watcher: Watcher) -> None:
        """See `ConferenceStates`."""
        self._watchers.append(watcher)

    def kept(self, key: str, publisher: str) -> KeptPublication | None:
        """What there is to keep of a publication; None for one that is over."""
        composed = self._conferences.get(key)
        found = None if composed is None else composed.publications.get(publisher)
        if found is None:
            return None
        return KeptPublication(key, publisher, found.etag, found.expires_at, found.octets)

    def restore(self, kept: KeptPublication) -> None:
        """Have a publication again that was here before a restart, and has not expired.

        Raises `XmlError` for one whose document cannot be read.
        """
        document = read_document(kept.octets, self.settings.max_octets)
        if _key(document.uri) != kept.room:
            raise XmlError(f"the document is of {document.uri}, and not of {kept.room}")
        lasts = kept.expires_at - self._clock.seconds()
        if lasts <= 0 or len(self) >= self.settings.max_conferences:
            return
        publication = self._publication(kept.room, kept.publisher, document, kept.octets)
        publication.etag = kept.etag
        self._hold(kept.room, publication, lasts)

    def handle(self, request: Request) -> Response:
        """Answer a PUBLISH, as `publish` does, with a response in any case."""
        try:
            result = self.publish(request)
        except SipSyntaxError as error:
            result = Denied(400, str(error))
        if isinstance(result, Response):
            return result
        note = self._budget.take("publisher")
        if note is not None:
            log.info(
                "refused: PUBLISH of {room}: {status} {reason} (Call-ID {call_id}){note}",
                room=visible(str(request.uri)),
                status=result.status,
                reason=visible(result.reason),
                call_id=visible(request.call_id),
                note=note,
            )
        return request.response(result.status, result.reason, headers=result.headers)

    def publish(self, request: Request) -> Response | Denied:
        """Serve a PUBLISH for the conference of its Request-URI (RFC 3903 §6). `SipSyntaxError`."""
        event = request.event
        if event is None or event.value.lower() != "conference":
            why = "Only the event package conference is published here"
            return Denied(489, why, (("Allow-Events", "conference"),))
        key = request.uri.key
        match = request.headers.get("SIP-If-Match")
        known = None
        if match is not None:
            if not is_token(match.strip()):
                return Denied(400, "SIP-If-Match needs one entity-tag")
            composed = self._conferences.get(key)
            known = None if composed is None else composed.of_tag(match.strip())
            if known is None:
                return Denied(412, "No publication of that entity-tag here: publish anew")
        expires = self._expires(request)
        if isinstance(expires, Denied):
            return expires
        if expires == 0:
            if known is None:
                return Denied(400, "To end a publication, SIP-If-Match must name it")
            self._end(key, known)
            return self._accepted(request, 0, _new_tag())
        if request.body:
            document = self._document(request, key)
            if isinstance(document, Denied):
                return document
            publisher = _publisher(request)
            if document.state == "deleted":
                if known is not None:
                    self._end(key, known)
                return self._accepted(request, 0, _new_tag())
            if key not in self._conferences and len(self) >= self.settings.max_conferences:
                why = f"{len(self)} conferences are published here already"
                return Denied(503, why, (("Retry-After", "60"),))
            if known is not None and known.publisher != publisher:
                # A room has moved, and its publication with it.
                self._rename(key, known, publisher)
            known = self._publication(key, publisher, document, request.body)
        elif known is None:
            return Denied(400, f"A publication begins with a body of {CONFERENCE_INFO}")
        known.etag = _new_tag()
        self._hold(key, known, expires)
        return self._accepted(request, expires, known.etag)

    def stop(self) -> None:
        """Forget everything, and tell nobody."""
        for composed in self._conferences.values():
            for each in composed.publications.values():
                _cancel(each)
        self._conferences.clear()

    def _expires(self, request: Request) -> int | Denied:
        settings = self.settings
        asked = request.expires
        if asked is None:
            return settings.expires
        if 0 < asked < settings.min_expires:
            least = str(settings.min_expires)
            why = f"Publish for {least} seconds or more"
            return Denied(423, why, (("Min-Expires", least),))
        return min(asked, settings.max_expires)

    def _document(self, request: Request, key: str) -> Document | Denied:
        content_type = request.content_type
        if content_type is None or content_type.essence != CONFERENCE_INFO:
            why = f"What is published here is {CONFERENCE_INFO}"
            return Denied(415, why, (("Accept", CONFERENCE_INFO),))
        try:
            document = read_document(request.body, self.settings.max_octets)
        except XmlError as error:
            return Denied(400, str(error))
        if document.state == "partial":
            return Denied(400, "Publish full state: a partial document has nothing to add to")
        if _key(document.uri) != key:
            return Denied(400, "The document is of another conference than the Request-URI")
        return document

    def _publication(
        self, key: str, publisher: str, document: Document, octets: bytes
    ) -> Publication:
        """The publication of a publisher, which says this now."""
        composed = self._conferences.get(key)
        is_new = composed is None
        if composed is None:
            composed = self._conferences[key] = Composed(PublishedConference(document.uri))
        publications = composed.publications
        publication = publications.pop(publisher, None)
        if publication is None:
            if len(publications) >= MAX_PUBLISHERS:
                self._forget(key, min(publications.values(), key=lambda each: each.expires_at))
            publication = Publication(publisher, document, octets)
        publications[publisher] = publication
        publication.take(document, octets, self._clock.seconds())
        self._compose(key, composed, is_new)
        return publication

    def _compose(self, key: str, composed: Composed, is_new: bool = False) -> None:
        change = composed.conference.update(composed.counts.document)
        if change or is_new:
            self._tell(key, composed.conference, change)

    def _hold(self, key: str, publication: Publication, lasts: float) -> None:
        _cancel(publication)
        publication.expires_at = self._clock.seconds() + lasts
        publication.timer = self._clock.callLater(lasts, self._expired, key, publication)
        self.on_kept(key, publication.publisher)

    def _accepted(self, request: Request, expires: int, etag: str) -> Response:
        headers = (("Expires", str(expires)), ("SIP-ETag", etag))
        return request.response(200, headers=headers)

    def _expired(self, key: str, publication: Publication) -> None:
        log.info("expired: what was published of {room}: as if it had ended", room=key)
        self._end(key, publication)

    def _forget(self, key: str, publication: Publication) -> None:
        _cancel(publication)
        del self._conferences[key].publications[publication.publisher]
        self.on_kept(key, publication.publisher)

    def _rename(self, key: str, publication: Publication, publisher: str) -> None:
        publications = self._conferences[key].publications
        former, publication.publisher = publication.publisher, publisher
        del publications[former]
        replaced = publications.get(publisher)
        if replaced is not None:
            _cancel(replaced)
        publications[publisher] = publication
        self.on_kept(key, former)

    def _end(self, key: str, publication: Publication) -> None:
        self._forget(key, publication)
        composed = self._conferences[key]
        if composed.publications:
            self._compose(key, composed)
        else:
            del self._conferences[key]
            self._tell(key, composed.conference, None)

    def _tell(self, key: str, conference: PublishedConference, change: Change | None) -> None:
        for watcher in self._watchers:
            watcher(key, conference, change)


def _cancel(publication: Publication) -> None:
    timer, publication.timer = publication.timer, None
    if timer is not None and timer.active():
        timer.cancel()


def _role(user: User) -> Role:
    """The greatest of the roles that a document tells of."""
    known = {role.text: role for role in Role}
    return max((known[each] for each in user.roles if each in known), default=Role.PARTICIPANT)


def _publisher(request: Request) -> str:
    """The server that publishes: its tags begin with its name."""
    return (request.from_.tag or "").partition(".")[0][:MAX_NAME]


def _new_tag() -> str:
    return secrets.token_hex(8)


def _key(uri: str) -> str:
    try:
        return parse_uri(uri).key
    except SipSyntaxError:
        return uri
