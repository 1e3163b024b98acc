"""A room calls again, by INVITE in the dialogs of its chats, and clients follow it elsewhere."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import evolve
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.task import deferLater

from msrpconf.client import Chat, SendError
from msrpconf.conference.arrivals import Arrival
from msrpconf.conference.participant import Participant
from msrpconf.conference.seat import write_room, write_seat
from msrpconf.protocols.msrp.connection import MsrpConnection
from msrpconf.protocols.sip.message import Response
from tests.scenarios.embedded import EmbeddedServerTestCase, Heard, joined

reactor: Any = installed

Story = Generator[Deferred[Any], Any, None]

LINES = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=message 9 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=setup:{setup}\r\n"
    "a=path:{path}\r\n"
)
NOWHERE = "msrp://127.0.0.1:1/nobody;tcp"


class FollowingTests(EmbeddedServerTestCase):
    server_keys = "[conference]\nnotices = false\n"

    @inlineCallbacks
    def two(self) -> Generator[Any, Any, tuple[Chat, Heard, Chat, Heard]]:
        alice, from_alice = yield joined(self.agent("alice", patience=20.0), self.room())
        bob, from_bob = yield joined(self.agent("bob", patience=20.0), self.room())
        yield self.until(lambda: len(self.people) == 2)
        return alice, from_alice, bob, from_bob

    @property
    def people(self) -> dict[str, Participant]:
        """Who is in the room, by address."""
        return {each.identity.short: each for each in self.service.server.registry.participants()}

    @inlineCallbacks
    def until(self, condition: Any) -> Story:
        while not condition():
            yield deferLater(reactor, 0.01)

    def take_away(self, name: str) -> Any:
        """Forget a participant as a server that has died; gives how it comes here again."""
        control = self.service.server.control
        (room,) = control.registry.rooms.values()
        participant = self.people[f"{name}@example.com"]
        told = Arrival(participant.dialog, participant.flow, write_seat(participant, "127.0.0.1"))
        state = write_room(room)
        return room.key, state, told, participant

    def move(self, name: str) -> None:
        """Have somebody come here as from another server, while that lives."""
        key, state, told, participant = self.take_away(name)
        connection = participant.session.connection
        self.service.server.registry.leave(participant)
        # It lives as long as the client likes.
        assert isinstance(connection, MsrpConnection)
        self.assertEqual(self.service.server.control.arrivals.take(key, state, [told], "x"), [])

    @inlineCallbacks
    def invite(self, name: str, body: str, **changes: Any) -> Generator[Any, Any, Response]:
        """Send an INVITE in somebody's dialog; what the client answers."""
        participant = self.people[f"{name}@example.com"]
        dialog = evolve(participant.dialog, **changes)
        headers = [("Contact", f"<{participant.contact}>"), ("Content-Type", "application/sdp")]
        participant.dialog, request = dialog.request("INVITE", headers, body.encode())
        response: Response = yield self.service.focus.focus.handle(request)
        return response

    @inlineCallbacks
    def test_to_another_path(self) -> Story:
        alice, from_alice, bob, from_bob = yield self.two()
        before = bob.session.connection
        self.move("bob")
        yield self.until(lambda: bob.session.connection not in {None, before})
        yield self.until(lambda: not bob.is_following)
        yield alice.send("Are you there?")
        self.assertEqual((yield from_bob.next()).text, "Are you there?")
        yield bob.send("Yes")
        self.assertEqual((yield from_alice.next()).text, "Yes")
        self.assertFalse(bob.ended)

    @inlineCallbacks
    def test_what_was_not_answered_is_said_again(self) -> Story:
        alice, from_alice, bob, _ = yield self.two()
        key, state, told, participant = self.take_away("bob")
        participant.session.connection.ignore()
        sending = [bob.send(f"message {number}") for number in range(3)]
        naming = self.assertFailure(bob.use_nickname("Robert"), SendError)
        yield deferLater(reactor, 0)
        registry = self.service.server.registry
        # The old server still has it, as far as the client can tell.
        del registry.dialogs[participant.dialog.id]
        participant.room.remove(participant)
        self.assertEqual(self.service.server.control.arrivals.take(key, state, [told], "x"), [])
        yield gatherResults([*sending, naming])
        for number in range(3):
            self.assertEqual((yield from_alice.next()).text, f"message {number}")
        yield alice.send("Good")
        self.assertEqual(from_alice.messages, [])
        participant.stop_timers()

    @inlineCallbacks
    def test_the_path_that_there_is(self) -> Story:
        alice, _, bob, from_bob = yield self.two()
        before = bob.session.connection
        path = bob.session.remote_path.decode()
        response = yield self.invite("bob", LINES.format(setup="passive", path=path))
        self.assertEqual(response.status, 200)
        self.assertIn(b"a=setup:active", response.body)
        self.assertIs(bob.session.connection, before)
        yield alice.send("Hi")
        self.assertEqual((yield from_bob.next()).text, "Hi")

    @inlineCallbacks
    def test_what_cannot_be_followed(self) -> Story:
        yield self.two()
        for body in (
            "",
            "what is this",
            LINES.format(setup="active", path=NOWHERE),
            LINES.format(setup="passive", path=NOWHERE).replace("m=message 9", "m=message 0"),
            LINES.format(setup="passive", path=NOWHERE).replace("m=message", "m=audio"),
            LINES.format(setup="passive", path="msrps://127.0.0.1:1/x;tcp").replace(
                "TCP/MSRP", "TCP/TLS/MSRP"
            ),
        ):
            response = yield self.invite("bob", body)
            self.assertEqual(response.status, 488, body)

    @inlineCallbacks
    def test_what_others_overtook(self) -> Story:
        _, _, bob, _ = yield self.two()
        path = bob.session.remote_path.decode()
        body = LINES.format(setup="passive", path=path)
        self.assertEqual((yield self.invite("bob", body, local_cseq=1000)).status, 200)
        self.assertEqual((yield self.invite("bob", body, local_cseq=500)).status, 500)
        self.assertEqual((yield self.invite("bob", body, local_cseq=1001)).status, 200)

    @inlineCallbacks
    def test_a_server_that_does_not_know_that_the_room_has_moved(self) -> Story:
        """Its BYE has a number that has been passed (RFC 3261 §12.2.2)."""
        _, _, bob, from_bob = yield self.two()
        path = bob.session.remote_path.decode()
        body = LINES.format(setup="passive", path=path)
        old = self.people["bob@example.com"].dialog
        self.assertEqual((yield self.invite("bob", body, local_cseq=1000)).status, 200)
        handle = self.service.focus.focus.handle
        _, late = old.request("BYE")
        self.assertEqual((yield handle(late)).status, 500)
        self.assertFalse(bob.ended)
        _, bye = self.people["bob@example.com"].dialog.request("BYE")
        self.assertEqual((yield handle(bye)).status, 200)
        yield from_bob.ended

    @inlineCallbacks
    def test_a_path_where_nobody_is(self) -> Story:
        _, _, bob, from_bob = yield self.two()
        response = yield self.invite("bob", LINES.format(setup="passive", path=NOWHERE))
        self.assertEqual(response.status, 200)
        why = yield from_bob.ended
        self.assertIn("the room has moved, and cannot be reached there", why)
        yield self.until(lambda: list(self.people) == ["alice@example.com"])
        self.assertTrue(bob.ended)

    @inlineCallbacks
    def test_who_leaves_meanwhile(self) -> Story:
        _, _, bob, from_bob = yield self.two()
        connecting: Deferred[Any] = Deferred()
        _, bobs_agent = self.agents
        self.patch(bobs_agent.connector, "connect", lambda destination: connecting)
        self.move("bob")
        yield self.until(lambda: bob.is_following)
        yield bob.leave()
        yield self.until(lambda: list(self.people) == ["alice@example.com"])
        self.assertFalse(from_bob.ended.called)
        self.assertTrue(connecting.called)
