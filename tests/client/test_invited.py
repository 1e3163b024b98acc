from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client import Invited, JoinError
from msrpconf.client.invited import LIFETIME, MAX_OPEN, MAX_TEXT, Invitations
from msrpconf.client.message import Person
from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.transaction import ServerTransaction, TransactionLayer
from tests.protocols.sip.fakes import UDP, Wire, make_request

ROOM = "sip:lobby@conf.example.com:5070"
CONTACT = ("Contact", "<sip:lobby@192.0.2.9>;isfocus")


class Agent:
    """What invitations need of a user agent."""

    user = "sip:bob@example.com"

    def __init__(self) -> None:
        self.clock = Clock()
        self.joining: Deferred[Any] = Deferred()
        self.joined: list[str] = []
        self.sent: list[tuple[Request, Deferred[Response]]] = []

    def contact(self, flow: Flow) -> str:
        return "<sip:bob@192.0.2.1>"

    def join(self, room: str, **options: Any) -> Deferred[Any]:
        self.joined.append(room)
        return self.joining

    def send_in_dialog(self, request: Request, flow: Flow | None) -> Deferred[Response]:
        self.sent.append((request, Deferred()))
        return self.sent[-1][1]


class InvitationsTests(SynchronousTestCase):
    def setUp(self) -> None:
        agent: Any = Agent()
        self.agent: Agent = agent
        self.wire = Wire()
        self.invitations = Invitations(agent)
        self.told: list[Invited] = []
        self.layer = TransactionLayer(
            self.agent.clock, self.wire, on_request=self.requested, on_ack=lambda _, __: None
        )
        self.number = 0

    def requested(self, transaction: ServerTransaction) -> None:
        self.invitations.referred(transaction, self.told.append)

    def refer(self, *headers: tuple[str, str], to: str = f"<{ROOM}>") -> Response:
        """A room's REFER; gives its answer."""
        self.number += 1
        request = make_request(
            "REFER",
            branch=f"z9hG4bK{self.number}",
            call_id=f"call-{self.number}",
            headers=(("Refer-To", to), *headers),
        )
        self.layer.receive(request, UDP)
        return self.wire.responses[-1]

    def notified(self) -> list[str]:
        """What the room was told, each NOTIFY answered."""
        told = []
        for request, answered in self.agent.sent:
            told.append(request.body.decode().strip())
            answered.callback(request.response(200))
        return told

    def test_it_is_told(self) -> None:
        answer = self.refer(
            CONTACT, ("Referred-By", '"Alice" <sip:alice@example.com>'), ("Subject", "The moon")
        )
        self.assertEqual(answer.status, 202)
        self.assertEqual(answer.headers.get("Contact"), "<sip:bob@192.0.2.1>")
        [invited] = self.told
        self.assertEqual(invited.room, ROOM)
        self.assertEqual(invited.by, Person("sip:alice@example.com", "Alice"))
        self.assertEqual(invited.subject, "The moon")
        notify = self.agent.sent[0][0]
        self.assertEqual(notify.body, b"SIP/2.0 100 Trying\r\n")
        self.assertEqual(notify.headers.get("Contact"), "<sip:bob@192.0.2.1>")
        self.assertEqual(notify.from_.tag, answer.to.tag)
        self.assertEqual(notify.headers.get("Subscription-State"), "active;expires=180")

    def test_texts_are_kept_short(self) -> None:
        self.refer(CONTACT, ("Subject", "x" * 5000))
        self.assertEqual(self.told[0].subject, "x" * MAX_TEXT)
        self.assertIsNone(self.told[0].by)

    def test_accepted(self) -> None:
        self.refer(CONTACT)
        accepting = self.told[0].accept()
        self.assertEqual(self.agent.joined, [ROOM])
        self.assertEqual(self.notified(), ["SIP/2.0 100 Trying"])
        self.agent.joining.callback("the chat")
        self.assertEqual(self.successResultOf(accepting), "the chat")
        self.assertEqual(self.agent.sent[-1][0].body, b"SIP/2.0 200 OK\r\n")
        self.assertEqual(
            self.agent.sent[-1][0].headers.get("Subscription-State"), "terminated;reason=noresource"
        )
        self.failureResultOf(self.told[0].accept(), JoinError)

    def test_a_room_that_does_not_let_in(self) -> None:
        self.refer(CONTACT)
        self.notified()
        accepting = self.told[0].accept()
        self.agent.joining.errback(JoinError(486, "The room is full"))
        self.failureResultOf(accepting, JoinError)
        self.assertEqual(self.agent.sent[-1][0].body, b"SIP/2.0 486 The room is full\r\n")

    def test_declined(self) -> None:
        self.refer(CONTACT)
        self.notified()
        self.told[0].decline()
        self.told[0].decline()
        self.assertFalse(self.told[0].open)
        self.assertEqual(self.agent.sent[-1][0].body, b"SIP/2.0 603 Decline\r\n")
        self.assertEqual(len(self.agent.sent), 2)

    def test_nobody_answers(self) -> None:
        self.refer(CONTACT)
        self.notified()
        self.agent.clock.advance(LIFETIME)
        self.assertFalse(self.told[0].open)
        self.assertEqual(self.agent.sent[-1][0].body, b"SIP/2.0 408 No answer\r\n")

    def test_who_wants_no_notify_gets_none(self) -> None:
        answer = self.refer(CONTACT, ("Refer-Sub", "false"))
        self.assertEqual((answer.status, answer.headers.get("Refer-Sub")), (202, "false"))
        self.told[0].decline()
        self.assertEqual(self.agent.sent, [])

    def test_what_is_refused(self) -> None:
        for status, to, *headers in (
            (400, f"<{ROOM}>"),
            (400, "<sip:>", CONTACT),
            (400, f"<{ROOM}>", CONTACT, ("Refer-To", f"<{ROOM}>")),
            (403, "<sip:lobby@conf.example.com;method=BYE>", CONTACT),
            (416, "<sip:conf.example.com>", CONTACT),
            (416, "<tel:+1555>", CONTACT),
        ):
            self.assertEqual(self.refer(*headers, to=str(to)).status, status, to)
        self.assertEqual(self.told, [])

    def test_not_more_than_a_person_can_answer(self) -> None:
        for _ in range(MAX_OPEN):
            self.assertEqual(self.refer(CONTACT).status, 202)
        self.assertEqual(self.refer(CONTACT).status, 486)
        # Their NOTIFYs are under way still.
        for invited in self.told:
            invited.decline()
        self.assertEqual(self.refer(CONTACT).status, 486)
        self.notified()
        while not all(answered.called for _, answered in self.agent.sent):
            for request, answered in self.agent.sent:
                if not answered.called:
                    answered.callback(request.response(200))
        self.assertEqual(self.refer(CONTACT).status, 202)

    def test_a_fault_of_who_is_told(self) -> None:
        def broken(_: Invited) -> None:
            raise ValueError("what a bot does not expect")

        self.patch(self, "told", type("Told", (), {"append": staticmethod(broken)}))
        self.assertEqual(self.refer(CONTACT).status, 202)
        self.notified()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.agent.sent[-1][0].body[:11], b"SIP/2.0 480")

    def test_who_goes_says_so(self) -> None:
        self.refer(CONTACT)
        self.notified()
        closing = self.invitations.close()
        self.assertNoResult(closing)
        request, answered = self.agent.sent[-1]
        self.assertEqual(request.body, b"SIP/2.0 480 The user has gone\r\n")
        answered.callback(request.response(200))
        self.successResultOf(closing)
