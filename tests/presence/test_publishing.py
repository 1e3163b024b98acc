"""Publishing what a room is about (RFC 3903)."""

from __future__ import annotations

from typing import Any

from msrpconf.conference.decision import Denied
from msrpconf.presence.publishing import MAX_IN_ROOM, Publishing
from msrpconf.presence.subscribing import Lifetimes
from msrpconf.protocols.sip.message import Response
from tests.conference.support import ROOM, Client, ControlTestCase, request

NAMESPACE = "urn:ietf:params:xml:ns:conference-info"


def document(inner: str, uri: str = ROOM) -> bytes:
    """A document whose <conference-description> has `inner`."""
    return (
        f'<conference-info xmlns="{NAMESPACE}" entity="{uri}" state="partial" version="0">'
        f"{inner}</conference-info>"
    ).encode()


def described(inner: str) -> bytes:
    return document(f"<conference-description>{inner}</conference-description>")


SUBJECT = described("<subject>Tea</subject>")


class PublishingTests(ControlTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.owner = Client(self, "alice")
        self.owner.join()
        Client(self, "bob").join()
        self.room.subject = "Coffee"
        self.publishing = Publishing(self.clock, self.registry.rooms.get, Lifetimes())
        self.addCleanup(self.publishing.stop)

    def publish(
        self,
        body: bytes = b"",
        *,
        etag: str | None = None,
        expires: int = 600,
        user: str = "alice",
        event: str = "conference",
        content_type: str = "application/conference-info+xml",
        key: str = ROOM,
    ) -> Any:
        headers = [("Event", event), ("Expires", str(expires))]
        if etag is not None:
            headers.append(("SIP-If-Match", etag))
        return self.publishing.handle(
            request(
                "PUBLISH",
                from_=f"<sip:{user}@home.com>;tag=1",
                headers=tuple(headers),
                body=body,
                content_type=content_type,
            ),
            key,
        )

    def published(self, body: bytes = SUBJECT, **options: Any) -> str:
        """Publish; give the entity-tag."""
        answer = self.publish(body, **options)
        assert isinstance(answer, Response), answer
        return answer.headers.get("SIP-ETag") or ""

    def refused(self, status: int, body: bytes = SUBJECT, **options: Any) -> Denied:
        subject, count = self.room.subject, len(self.publishing)
        answer = self.publish(body, **options)
        assert isinstance(answer, Denied), answer
        self.assertEqual(answer.status, status, answer)
        self.assertEqual((self.room.subject, len(self.publishing)), (subject, count))
        return answer

    def test_the_room_has_it_while_it_lasts(self) -> None:
        texts = "<display-text>Tea room</display-text><subject>Tea</subject>"
        self.published(described(f"{texts}<free-text>At five.\nBe there.</free-text>"))
        self.assertEqual(self.room.subject, "Tea")
        self.assertEqual(self.room.display_text, "Tea room")
        self.assertEqual(self.room.free_text, "At five.\nBe there.")
        self.clock.advance(601)
        self.assertEqual(self.room.subject, "Coffee")
        self.assertIsNone(self.room.display_text)
        self.assertEqual(len(self.publishing), 0)

    def test_refreshed_changed_and_ended(self) -> None:
        first = self.published()
        self.clock.advance(500)
        second = self.published(b"", etag=first)
        self.assertNotEqual(first, second)
        self.clock.advance(500)
        self.assertEqual(self.room.subject, "Tea")
        third = self.published(described("<subject>Cake</subject>"), etag=second)
        self.assertEqual(self.room.subject, "Cake")
        self.refused(412, etag=first)
        answer = self.publish(etag=third, expires=0)
        self.assertEqual(answer.headers.get("Expires"), "0")
        self.assertEqual(self.room.subject, "Coffee")

    def test_what_was_changed_meanwhile_stays(self) -> None:
        etag = self.published()
        self.room.subject = "Milk"
        self.publish(etag=etag, expires=0)
        self.assertEqual(self.room.subject, "Milk")

    def test_watchers_are_told(self) -> None:
        told: list[bool] = []
        self.registry.watch(
            lambda key, info, change: told.append(change is not None and change.description_changed)
        )
        self.published(described("<free-text>At five</free-text>"))
        self.assertEqual(told, [True])

    def test_who_may_not(self) -> None:
        for user in ("bob", "mallory"):
            self.refused(403, user=user)

    def test_what_may_not(self) -> None:
        for body in (
            document("<users/>"),
            document("<conference-state><user-count>7</user-count></conference-state>"),
            described("<subject>Tea</subject><maximum-user-count>7</maximum-user-count>"),
            described(""),
            document(""),
            b"<rubbish",
            SUBJECT.replace(ROOM.encode(), b"sip:other@conf.example.com"),
            SUBJECT.replace(b"partial", b"deleted"),
            described(f"<free-text>{'x' * 5000}</free-text>"),
            described(f"<free-text>{'x' * 70000}</free-text>"),
        ):
            self.refused(400, body)

    def test_refused(self) -> None:
        self.assertEqual(
            self.refused(415, content_type="application/pidf+xml").headers,
            (("Accept", "application/conference-info+xml"),),
        )
        self.assertEqual(self.refused(423, expires=5).headers, (("Min-Expires", "60"),))
        self.refused(489, event="presence")
        self.refused(404, key="sip:other@conf.example.com")
        self.refused(400, b"")
        self.refused(400, expires=0)
        self.refused(400, etag="two words")
        self.refused(412, etag="unknown")

    def test_bounds(self) -> None:
        for _ in range(MAX_IN_ROOM):
            self.published()
        self.refused(403)
        self.publishing.max_publications = MAX_IN_ROOM
        self.refused(503)

    def test_the_room_ends(self) -> None:
        etag = self.published()
        self.publishing.room_ended(ROOM)
        self.assertEqual(len(self.publishing), 0)
        self.refused(412, etag=etag)

    def test_no_line_breaks_in_a_subject(self) -> None:
        self.published(described("<subject>Tea\n\n at  five</subject>"))
        self.assertEqual(self.room.subject, "Tea at five")
