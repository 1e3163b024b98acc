"""A subscription, from the side of who watches: what is sent when, and what is believed."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client.room_events import Happening, RoomEvent
from msrpconf.client.subscription import LAST_WORD, NOTIFY_TIMEOUT, SHORTEST, Subscription
from msrpconf.client.watching import MAX_PAUSE, Watch, WatchError, WatchState
from msrpconf.protocols.conference_info import (
    CONFERENCE_INFO,
    Endpoint,
    User,
    document,
    user_element,
    users_element,
)
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.locate import LocateError
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.transaction import ServerTransaction, TransactionLayer
from msrpconf.protocols.sip.uri import SipURI
from tests.protocols.sip.fakes import UDP, Wire, make_request

ROOM = "sip:lobby@example.com"
BOB, CAROL = "sip:bob@example.com", "sip:carol@example.com"
CONTACT = "<sip:alice@192.0.2.1:5070>"
PROXY = Address("udp", "192.0.2.9", 5060)


def full(version: int, *users: str) -> bytes:
    return document(ROOM, "full", version, (users_element(map(_element, users)),))


def partial(version: int, *users: str) -> bytes:
    elements = map(_element, users)
    return document(ROOM, "partial", version, (users_element(elements, "partial"),))


def _element(user: str) -> bytes:
    return user_element(User(user, endpoints=(Endpoint("e", "connected"),)))


class Agent:
    """What a watch needs of a user agent; the test answers what it sends."""

    user = "sip:alice@example.com"
    display_name = "Alice"

    def __init__(self) -> None:
        self.clock = Clock()
        self.watches: set[Watch] = set()
        self.subscriptions: dict[str, Subscription] = {}
        self.sent: list[tuple[Request, Deferred[Response]]] = []
        self.known = True

    def locate_proxy(self, uri: SipURI) -> Deferred[list[Address]]:
        return succeed([PROXY]) if self.known else fail(LocateError(f"{uri}: nowhere"))

    def contact_towards(self, address: Address, *, sips: bool = False) -> Deferred[str]:
        return succeed(CONTACT)

    def send_to(self, request: Request, address: Address) -> Deferred[Response]:
        self.sent.append((request, Deferred()))
        return self.sent[-1][1]

    def send_in_dialog(self, request: Request, flow: Flow | None) -> Deferred[Response]:
        return self.send_to(request, PROXY)


class WatchCase(SynchronousTestCase):
    def setUp(self) -> None:
        agent: Any = Agent()
        self.agent: Agent = agent
        self.clock = self.agent.clock
        self.events: list[RoomEvent] = []
        self.watch = Watch(agent, SipURI.parse(ROOM), None, lambda _, new: self.events.extend(new))
        self.wire = Wire()
        self.layer = TransactionLayer(
            Clock(), self.wire, on_request=self.requested, on_ack=lambda _, __: None
        )
        self.number = self.branches = 0

    def requested(self, transaction: ServerTransaction) -> None:
        self.agent.subscriptions[transaction.request.call_id].received(transaction)

    @property
    def asked(self) -> Request:
        """The last SUBSCRIBE."""
        return self.agent.sent[-1][0]

    def answer(self, status: int = 200, *headers: tuple[str, str], tag: str = "room") -> None:
        request, answered = self.agent.sent[-1]
        if status < 300:
            headers = (*headers, ("Contact", "<sip:lobby@192.0.2.9>"))
        answered.callback(request.response(status, headers=headers, to_tag=tag))

    def notify(
        self,
        body: bytes = b"",
        state: str = "active;expires=3600",
        *,
        tag: str = "room",
        event: str = "conference",
        content_type: str = CONFERENCE_INFO,
        number: int | None = None,
        method: str = "NOTIFY",
    ) -> Response:
        """A NOTIFY comes; what it is answered."""
        self.number = self.number + 1 if number is None else number
        self.branches += 1
        request = make_request(
            method,
            branch=f"z9hG4bKn{self.branches}",
            uri="sip:alice@192.0.2.1:5070",
            from_tag=tag,
            to_tag=self.asked.from_.tag,
            call_id=self.asked.call_id,
            cseq=self.number,
            headers=(
                ("Contact", "<sip:lobby@192.0.2.9>"),
                ("Event", event),
                ("Subscription-State", state),
                ("Content-Type", content_type),
            ),
        )
        request.body = body
        before = len(self.wire.responses)
        self.layer.receive(request, UDP)
        return self.wire.responses[before]

    def begin(self, *users: str) -> None:
        self.watch.begin()
        self.answer(200, ("Expires", "3600"))
        self.assertEqual(self.notify(full(0, *users)).status, 200)
        self.successResultOf(self.watch.begun)

    def happened(self) -> list[Happening]:
        events, self.events = [each.what for each in self.events], []
        return events


class SubscribeTests(WatchCase):
    def test_as_it_is_sent(self) -> None:
        self.watch.begin()
        asked = self.asked
        self.assertEqual((asked.method, str(asked.uri)), ("SUBSCRIBE", ROOM))
        self.assertEqual(str(asked.to), f"<{ROOM}>")
        self.assertEqual(str(asked.from_.uri), "sip:alice@example.com")
        self.assertEqual(asked.headers.get("Contact"), CONTACT)
        self.assertEqual(asked.headers.get("Event"), "conference")
        self.assertEqual(asked.headers.get("Accept"), CONFERENCE_INFO)
        self.assertEqual(asked.expires, 3600)
        self.answer()
        self.notify(full(0, BOB))
        self.assertIs(self.successResultOf(self.watch.begun), self.watch)
        self.assertIs(self.watch.state, WatchState.ACTIVE)
        self.assertEqual(self.happened(), [Happening.STATE])

    def test_it_is_refreshed_in_time(self) -> None:
        self.watch.begin()
        self.answer(200, ("Expires", "1000"))
        self.notify(full(0))
        self.clock.advance(799)
        self.assertEqual(len(self.agent.sent), 1)
        self.clock.advance(1)
        first, second = (each[0] for each in self.agent.sent)
        self.assertEqual((second.call_id, second.to.tag), (first.call_id, "room"))
        self.assertEqual(second.cseq.number, first.cseq.number + 1)
        self.answer(200, ("Expires", "500"))
        self.notify(full(1))
        self.clock.advance(400)
        self.assertEqual(len(self.agent.sent), 3)

    def test_a_notify_may_say_that_it_is_over_sooner(self) -> None:
        self.begin()
        self.notify(partial(1, BOB), "active;expires=100")
        self.clock.advance(80)
        self.assertEqual(len(self.agent.sent), 2)

    def test_not_too_often_whatever_is_granted(self) -> None:
        self.watch.begin()
        self.answer(200, ("Expires", "0"))
        self.notify(full(0), "active;expires=0")
        self.clock.advance(SHORTEST - 0.1)
        self.assertEqual(len(self.agent.sent), 1)
        self.clock.advance(0.1)
        self.assertEqual(len(self.agent.sent), 2)

    def test_too_short(self) -> None:
        self.watch.begin()
        self.answer(423, ("Min-Expires", "7200"))
        self.assertEqual((self.asked.expires, self.asked.cseq.number), (7200, 2))
        self.answer(423, ("Min-Expires", "7200"))
        self.assertEqual(self.failureResultOf(self.watch.begun, WatchError).value.status, 423)

    def test_refused(self) -> None:
        for status in (403, 404, 405, 489, 503):
            self.setUp()
            self.watch.begin()
            self.answer(status)
            self.assertEqual(
                self.failureResultOf(self.watch.begun, WatchError).value.status, status
            )
            self.assertEqual(self.happened(), [Happening.UNWATCHED])
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertEqual((self.agent.watches, self.agent.subscriptions), (set(), {}))

    def test_nowhere(self) -> None:
        self.agent.known = False
        self.watch.begin()
        self.assertEqual(self.failureResultOf(self.watch.begun, WatchError).value.status, 503)

    def test_an_answer_that_names_no_target(self) -> None:
        self.watch.begin()
        request, answered = self.agent.sent[-1]
        answered.callback(request.response(200, to_tag="room"))
        self.assertEqual(self.failureResultOf(self.watch.begun, WatchError).value.status, 502)

    def test_a_password_was_asked_for(self) -> None:
        """The agent has sent it again by itself; its number counts."""
        self.watch.begin()
        request, answered = self.agent.sent[-1]
        again = request.copy()
        again.headers.set("CSeq", "5 SUBSCRIBE")
        headers = (("Contact", "<sip:lobby@192.0.2.9>"), ("Expires", "100"))
        answered.callback(again.response(200, headers=headers, to_tag="room"))
        self.notify(full(0))
        self.clock.advance(80)
        self.assertEqual(self.asked.cseq.number, 6)

    def test_silence(self) -> None:
        self.watch.begin()
        self.answer()
        self.clock.advance(NOTIFY_TIMEOUT)
        self.assertEqual(self.failureResultOf(self.watch.begun, WatchError).value.status, 408)


class NotifyTests(WatchCase):
    def test_it_may_come_before_the_answer(self) -> None:
        self.watch.begin()
        self.assertEqual(self.notify(full(0, BOB)).status, 200)
        self.successResultOf(self.watch.begun)
        self.answer(200, ("Expires", "100"))
        self.clock.advance(80)
        self.assertEqual(len(self.agent.sent), 2)
        self.assertEqual(self.asked.to.tag, "room")

    def test_the_first_of_a_forked_request_tells(self) -> None:
        self.watch.begin()
        self.notify(full(0, BOB), tag="first")
        self.assertEqual(self.notify(full(0, CAROL), tag="second").status, 481)
        self.answer(tag="second")
        self.assertEqual(list(self.watch.roster.users), [BOB])
        self.assertEqual(self.notify(partial(1, CAROL), tag="first").status, 200)

    def test_what_happens(self) -> None:
        self.begin(BOB)
        self.notify(partial(1, CAROL))
        self.assertEqual(self.happened(), [Happening.STATE, Happening.CAME])
        self.assertEqual(list(self.watch.roster.users), [BOB, CAROL])

    def test_what_cannot_be_taken(self) -> None:
        self.begin(BOB)
        for status, wrong in (
            (489, {"event": "presence"}),
            (415, {"content_type": "application/pidf+xml"}),
            (400, {"state": ";"}),
            (500, {"number": 0}),
            (405, {"method": "INFO"}),
        ):
            self.assertEqual(self.notify(full(1, CAROL), **wrong).status, status, wrong)
            self.number = 5
        self.assertEqual(list(self.watch.roster.users), [BOB])
        self.assertEqual(self.notify(partial(1, CAROL)).status, 200)

    def test_a_gap_is_asked_about(self) -> None:
        self.begin(BOB)
        self.clock.advance(SHORTEST)
        self.assertEqual(self.notify(partial(3, CAROL)).status, 200)
        self.assertFalse(self.watch.roster.complete)
        self.assertEqual(len(self.agent.sent), 2)
        self.assertEqual((self.asked.to.tag, self.asked.expires), ("room", 3600))
        self.notify(partial(4, CAROL))
        self.answer()
        self.notify(full(5, CAROL))
        self.assertTrue(self.watch.roster.complete)
        self.assertEqual(self.happened(), [Happening.STATE, Happening.LEFT, Happening.CAME])

    def test_gaps_without_end_are_not_asked_about_without_end(self) -> None:
        self.begin()
        for version in range(10, 1000, 10):
            self.notify(partial(version))
            self.clock.advance(0.1)
            if not self.agent.sent[-1][1].called:
                self.answer()
        self.assertLess(len(self.agent.sent), 4)

    def test_a_document_that_cannot_be_read(self) -> None:
        self.begin(BOB)
        self.assertEqual(self.notify(b"<a/>").status, 400)
        self.assertIs(self.watch.state, WatchState.WAITING)
        self.assertEqual(list(self.watch.roster.users), [BOB])
        self.assertFalse(self.watch.roster.complete)
        self.clock.advance(1)
        self.assertIsNone(self.asked.to.tag)
        self.answer()
        self.number = 0
        self.notify(full(0, CAROL))
        self.assertTrue(self.watch.roster.complete)

    def test_a_pending_subscription(self) -> None:
        self.watch.begin()
        self.answer(202)
        self.notify(b"", "pending;expires=3600")
        self.successResultOf(self.watch.begun)
        self.assertIs(self.watch.state, WatchState.PENDING)
        self.assertEqual(self.happened(), [])
        self.notify(full(0, BOB))
        self.assertIs(self.watch.state, WatchState.ACTIVE)
        self.assertEqual(self.happened(), [Happening.STATE])


class EndTests(WatchCase):
    def test_the_room_ends(self) -> None:
        self.begin(BOB)
        self.notify(document(ROOM, "deleted", 1), "terminated;reason=noresource")
        self.assertEqual(self.happened()[1:], [Happening.ENDED, Happening.UNWATCHED])
        self.assertEqual(str(self.watch.error), "410 the room has ended")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_room_that_ends_and_leaves_the_rest_to_us(self) -> None:
        self.begin(BOB)
        self.notify(document(ROOM, "deleted", 1))
        self.assertEqual(str(self.watch.error), "410 the room has ended")
        self.assertEqual(self.asked.expires, 0)
        self.answer()
        self.notify(b"", "terminated;reason=timeout")
        self.assertEqual(self.agent.subscriptions, {})

    def test_one_may_not_watch_any_more(self) -> None:
        self.begin(BOB)
        self.notify(b"", "terminated;reason=rejected")
        assert self.watch.error is not None
        self.assertEqual(self.watch.error.status, 403)

    def test_a_server_that_starts_again(self) -> None:
        self.begin(BOB)
        self.notify(b"", "terminated;reason=deactivated")
        self.assertIs(self.watch.state, WatchState.WAITING)
        self.clock.advance(0)
        first, second = (each[0] for each in self.agent.sent)
        self.assertNotEqual(first.call_id, second.call_id)
        self.answer()
        self.number = 0
        self.notify(full(0, CAROL))
        self.assertEqual(self.happened(), [Happening.STATE, Happening.LEFT, Happening.CAME])

    def test_a_server_that_does_so_all_the_time(self) -> None:
        self.begin()
        for _ in range(20):
            self.notify(b"", "terminated;reason=deactivated")
            self.clock.advance(MAX_PAUSE)
            self.answer()
            self.number = 0
        waited = self.clock.seconds()
        self.notify(b"", "terminated;reason=deactivated")
        self.clock.advance(MAX_PAUSE - 1)
        self.assertEqual(len(self.agent.sent), 21)
        self.clock.advance(1)
        self.assertEqual(len(self.agent.sent), 22)
        self.assertEqual(self.clock.seconds(), waited + MAX_PAUSE)

    def test_a_server_that_says_when(self) -> None:
        self.begin()
        self.notify(b"", "terminated;reason=probation;retry-after=120")
        self.clock.advance(119)
        self.assertEqual(len(self.agent.sent), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.agent.sent), 2)

    def test_a_refresh_that_comes_to_nothing(self) -> None:
        for status, again in ((481, True), (408, True), (503, True), (403, False), (404, False)):
            self.setUp()
            self.begin()
            self.clock.advance(2880)
            self.answer(status)
            self.assertIs(self.watch.state, WatchState.WAITING if again else WatchState.OVER)
            self.clock.advance(MAX_PAUSE)
            self.assertEqual(len(self.agent.sent), 3 if again else 2)

    def test_to_stop(self) -> None:
        self.begin()
        stopping = self.watch.stop()
        self.assertEqual((self.asked.to.tag, self.asked.expires), ("room", 0))
        self.answer()
        self.assertNoResult(stopping)
        self.assertEqual(self.notify(b"", "terminated;reason=timeout").status, 200)
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.happened(), [Happening.STATE])

    def test_to_stop_where_nothing_more_is_said(self) -> None:
        self.begin()
        stopping = self.watch.stop()
        self.answer()
        self.clock.advance(LAST_WORD)
        self.successResultOf(stopping)

    def test_to_stop_before_it_has_begun(self) -> None:
        self.watch.begin()
        stopping = self.watch.stop()
        self.failureResultOf(self.watch.begun, WatchError)
        self.assertEqual(len(self.agent.sent), 1)
        self.answer()
        self.assertEqual(self.asked.expires, 0)
        self.answer(481)
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_to_stop_while_waiting(self) -> None:
        self.begin()
        self.notify(b"", "terminated;reason=probation")
        self.successResultOf(self.watch.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.agent.watches, set())

    def test_a_listener_with_a_fault(self) -> None:
        def fail_to_understand(watch: Watch, events: list[RoomEvent]) -> None:
            raise ZeroDivisionError

        agent: Any = self.agent
        self.watch = Watch(agent, SipURI.parse(ROOM), None, fail_to_understand)
        self.begin(BOB)
        self.assertEqual(self.notify(partial(1, CAROL)).status, 200)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


_STATES = st.sampled_from(
    [
        "active",
        "active;expires=-1",
        "ACTIVE;expires=99999999999999",
        "pending",
        "terminated",
        "terminated;reason=giveup;retry-after=x",
        "terminated;reason=noresource",
        "",
        "\x00",
        "nonsense;expires=3",
    ]
)
_BODIES = st.one_of(
    st.binary(max_size=40),
    st.builds(full, st.integers(0, 5), st.sampled_from([BOB, CAROL, "sip:\u202e<&>@x"])),
    st.builds(partial, st.integers(0, 9), st.sampled_from([BOB, CAROL])),
    st.builds(
        lambda octets, at, with_: octets[:at] + with_ + octets[at + len(with_) :],
        st.just(full(1, BOB, CAROL)),
        st.integers(0, 600),
        st.binary(max_size=3),
    ),
    st.just(document(ROOM, "deleted", 7)),
)


class HostileTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.tuples(_BODIES, _STATES, st.integers(0, 9)), max_size=8))
    def test_whatever_comes_is_answered(self, told: list[tuple[bytes, str, int]]) -> None:
        case = WatchCase()
        case.setUp()
        case.begin(BOB)
        for body, state, number in told:
            if not case.agent.subscriptions:
                break
            status = case.notify(body, state, number=number).status
            self.assertIn(status, {200, 400, 481, 500})
            case.clock.advance(1)
            if not case.agent.sent[-1][1].called:
                case.answer()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertLess(len(case.agent.sent), 2 + 2 * len(told))
        case.watch.stop()
