"""Who is let watch, or not, in the documents of a room in the database."""

from __future__ import annotations

from msrpconf.conference.identity import Identity
from msrpconf.conference.operating import CannotBeDone
from msrpconf.conference.room import Room
from msrpconf.services.room_documents import RoomDocumentService
from msrpconf.services.watch_decisions import decide
from msrpconf.storage.errors import NoSuchRoom
from msrpconf.xcap.deciding import block
from msrpconf.xcap.rules import SubHandling
from msrpconf.xcap.store import ALLOW_ALL, index_of
from tests.services.test_room_documents import ONE, RoomDocumentTestCase
from tests.storage.support import OnPostgresql
from tests.xcap.support import document, rule

WENDY = "sip:wendy@home.com"
OMA = f"/xcap-root/org.openmobilealliance.pres-rules/users/{ONE}/pres-rules"
CONFIRM = document(rule("<identity><many/></identity>", "confirm"))


class WatchDecisionTests(RoomDocumentTestCase):
    async def static(self, *documents: tuple[str, bytes]) -> tuple[RoomDocumentService, Room]:
        """A static room with documents at these places."""
        service = await self.process()
        room = self.room()
        room.static = True
        await self.settle(service)
        for uri, octets in documents:
            await service.change(room, uri, lambda before, octets=octets: octets)  # type: ignore
        self.changed.clear()
        return service, room

    def handling(self, service: RoomDocumentService, user: str) -> SubHandling:
        return service.rules.decide(ONE, Identity(user, None, (user,)))

    async def test_an_ad_hoc_room(self) -> None:
        service = await self.process()
        room = self.room()
        await self.settle(service)
        self.assertEqual(await decide(service, room, WENDY, False), SubHandling.BLOCK)
        self.assertEqual(await self.rows(), {index_of(ONE): block(ALLOW_ALL, WENDY)})
        self.assertEqual(await decide(service, room, WENDY, True), SubHandling.ALLOW)
        self.assertIn("decided by the operator: sip:wendy@home.com may not watch", self.logged)
        # The document ends with the room all the same.
        self.registry.end(room)
        await self.settle(service)
        self.assertEqual(await self.rows(), {})

    async def test_a_room_without_documents(self) -> None:
        """All may watch it: who is blocked is the only one who may not."""
        service, room = await self.static()
        self.assertEqual(await decide(service, room, WENDY, False), SubHandling.BLOCK)
        self.assertEqual(self.handling(service, "sip:bob@home.com"), SubHandling.ALLOW)
        self.assertEqual(self.changed, [ONE])

    async def test_all_documents_count(self) -> None:
        service, room = await self.static((index_of(ONE), CONFIRM), (OMA, ALLOW_ALL))
        self.assertEqual(await decide(service, room, WENDY, False), SubHandling.BLOCK)
        self.assertEqual(
            await self.rows(), {index_of(ONE): block(CONFIRM, WENDY), OMA: block(ALLOW_ALL, WENDY)}
        )
        self.assertEqual(self.handling(service, "sip:bob@home.com"), SubHandling.ALLOW)

    async def test_where_there_is_another_document(self) -> None:
        """A new one grants nothing to others."""
        service, room = await self.static((OMA, CONFIRM))
        self.assertEqual(await decide(service, room, WENDY, True), SubHandling.ALLOW)
        self.assertEqual(self.handling(service, "sip:bob@home.com"), SubHandling.CONFIRM)

    async def test_what_is_so_already_is_not_written(self) -> None:
        service, room = await self.static((index_of(ONE), CONFIRM))
        await decide(service, room, WENDY, True)
        before = service._versions[ONE]
        await decide(service, room, WENDY, True)
        self.assertEqual(service._versions[ONE], before)

    async def test_a_document_that_cannot_be_read(self) -> None:
        service, room = await self.static((index_of(ONE), b"<broken"), (OMA, CONFIRM))
        await self.fails(CannotBeDone, decide(service, room, WENDY, True), "cannot be read")
        # It grants nothing: nobody has to be excepted in it.
        self.assertEqual(await decide(service, room, WENDY, False), SubHandling.BLOCK)
        self.assertEqual((await self.rows())[index_of(ONE)], b"<broken")

    async def test_a_room_that_has_ended(self) -> None:
        service, room = await self.static()
        self.registry.end(room)
        await self.fails(NoSuchRoom, decide(service, room, WENDY, True))

    async def test_a_room_whose_uri_is_too_long(self) -> None:
        service = await self.process()
        room = self.room(f"sip:{'x' * 100}@conf.example.com")
        await self.fails(CannotBeDone, decide(service, room, WENDY, True), "too long")


class PostgresqlWatchDecisionTests(OnPostgresql, WatchDecisionTests):
    """The same, with PostgreSQL."""
