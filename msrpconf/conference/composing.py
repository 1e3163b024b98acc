"""The publications of one conference (RFC 3903 §6): who has published what, and which counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall

from msrpconf.protocols.conference_info_reading import Document

if TYPE_CHECKING:
    from msrpconf.conference.published import PublishedConference


@frozen
class KeptPublication:
    """What there is to keep of a publication over a restart; `expires_at` is of the epoch."""

    room: str
    publisher: str
    etag: str
    expires_at: float
    octets: bytes


@define(eq=False)
class Publication:
    """What `publisher` has published, as `octets` say it, until `timer` ends it."""

    publisher: str
    document: Document
    octets: bytes
    etag: str = ""
    expires_at: float = 0.0
    timer: IDelayedCall | None = None
    has_people: bool = False

    def take(self, document: Document, octets: bytes) -> None:
        """Say something else from now on."""
        self.document, self.octets = document, octets
        told = () if document.users is None else document.users.users
        self.has_people = any(each.state != "deleted" and each.user.is_present for each in told)


@define(eq=False)
class Composed:
    """A conference, and its publications by their publishers, the last one last."""

    conference: PublishedConference
    publications: dict[str, Publication] = field(factory=dict)

    @property
    def counts(self) -> Publication:
        """The publication that counts."""
        latest = reversed(self.publications.values())
        first = next(latest)
        return first if first.has_people else next((e for e in latest if e.has_people), first)

    def of_tag(self, etag: str) -> Publication | None:
        """The publication of that entity-tag; None where there is none."""
        return next((each for each in self.publications.values() if each.etag == etag), None)
