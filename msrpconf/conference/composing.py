"""The publications of one conference (RFC 3903 §6): who has published what, and which counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall

from msrpconf.protocols.conference_info_reading import Document

if TYPE_CHECKING:
    from msrpconf.conference.published import PublishedConference

MOVING = 60.0
"""Seconds that a room may be on two servers, while those in it go from one to the other."""


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
    people: int = 0
    """How many users it has in the conference."""
    at: float = 0.0
    """When it last said something, in seconds of the clock."""

    def take(self, document: Document, octets: bytes, now: float) -> None:
        """Say something else from now on."""
        self.document, self.octets, self.at = document, octets, now
        told = () if document.users is None else document.users.users
        self.people = sum(each.state != "deleted" and each.user.is_present for each in told)


@define(eq=False)
class Composed:
    """A conference, and its publications by their publishers, the last one last."""

    conference: PublishedConference
    publications: dict[str, Publication] = field(factory=dict)

    @property
    def counts(self) -> Publication:
        """The publication that counts: where most people are, by what was said just now."""
        latest = list(reversed(self.publications.values()))
        since = latest[0].at - MOVING
        recent = max((each for each in latest if each.at >= since), key=lambda each: each.people)
        return recent if recent.people else next((e for e in latest if e.people), latest[0])

    def of_tag(self, etag: str) -> Publication | None:
        """The publication of that entity-tag; None where there is none."""
        return next((each for each in self.publications.values() if each.etag == etag), None)
