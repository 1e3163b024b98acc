"""Who gives a server up tells the presence agent that its rooms have ended."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from msrpconf.conference.published import PublishedStates
from msrpconf.conference.publishing import Publisher
from msrpconf.conference.states import Change, ConferenceInfo
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.services import publications
from msrpconf.services.handing_over import HandingOver
from tests.documents import read, users
from tests.services.test_dispatching import GRACE, ROOM, DispatchTestCase, Server
from tests.services.test_moving import PEOPLE, MovingTestCase


class TakingBackTests(DispatchTestCase):
    """Servers that publish; `states` is the presence agent that the focus brings it to."""

    names = ("east",)

    def setUp(self) -> None:
        super().setUp()
        self.states = PublishedStates(self.clock)
        self.states.watch(self.changed)
        self.addCleanup(self.states.stop)
        self.ended: list[str] = []
        self.answers: list[int] = []
        self.status: int | None = None
        """What the agent answers, if it is out of order."""
        self.silent: list[tuple[Request, Deferred[Response]]] | None = None
        """What waits for an answer, if it gives none."""
        self.publishes("east")

    def changed(self, key: str, info: ConferenceInfo, change: Change | None) -> None:
        if change is None:
            self.ended.append(key)

    def publishes(self, name: str) -> None:
        """Have a server publish its rooms, as `ServerApart` does."""
        server: Server = self.servers[name]
        control = server.control
        publisher = Publisher(
            server.registry,
            server.registry.conferences,
            self.clock,
            control.send,
            control.new_tag,
        )
        self.addCleanup(publisher.stop)
        publisher.start()

    def to_focus(self, request: Request) -> Response | Deferred[Response]:
        if request.method != "PUBLISH":
            return super().to_focus(request)
        if self.silent is not None:
            waiting: Deferred[Response] = Deferred()
            self.silent.append((request, waiting))
            return waiting
        if self.status is not None:
            answer = request.response(self.status)
        else:
            answer = self.states.handle(request)
        self.answers.append(answer.status)
        return answer

    def people(self) -> list[str]:
        found = self.states.find(ROOM)
        return [] if found is None else list(users(read(found.full(1))))

    def published(self) -> int:
        return len(self.dispatcher._publications._published.get("east", {}))

    def test_a_server_that_does_not_come_back(self) -> None:
        self.join()
        self.seconds(1.0)
        self.assertEqual(len(self.people()), 1)
        self.cables["east"].break_()
        self.seconds(GRACE - 0.5)
        self.assertEqual(self.ended, [])
        self.seconds(0.5)
        self.assertEqual(self.ended, [ROOM])
        self.assertEqual(len(self.states), 0)
        self.assertEqual(set(self.answers), {200})
        line = "server east: telling the presence agent that 1 rooms have ended"
        self.assertEqual(self.lines.count(line), 1)

    def test_watchers_see_it_empty_before_it_ends(self) -> None:
        self.join()
        self.seconds(1.0)
        seen: list[list[str]] = []
        self.states.watch(lambda *_: seen.append(self.people()))
        self.cables["east"].break_()
        self.seconds(GRACE)
        # Some agents tell the last document when it is removed.
        self.assertEqual(seen, [[], []])

    def test_a_server_that_comes_back_in_time(self) -> None:
        self.join()
        self.seconds(1.0)
        self.cables["east"].break_()
        self.seconds(1.0)
        self.connect("east")
        self.seconds(GRACE)
        self.assertEqual((self.ended, len(self.people())), ([], 1))

    def test_one_that_has_started_anew(self) -> None:
        self.join()
        self.seconds(1.0)
        self.restart("east")
        self.publishes("east")
        self.assertEqual(self.ended, [ROOM])
        self.seconds(GRACE)
        self.join("call-2")
        self.seconds(1.0)
        self.assertEqual((self.ended, len(self.people())), ([ROOM], 1))

    def test_what_it_has_published_since_is_true(self) -> None:
        self.join()
        self.seconds(1.0)
        before = self.dispatcher._publications._published["east"][ROOM]
        self.dispatcher._publications.rooms_lost("east", {ROOM}, before.link, False)
        self.assertEqual((self.ended, self.published()), ([], 1))

    def test_rooms_that_have_ended_are_not_told_of_again(self) -> None:
        tag = self.join()
        self.seconds(1.0)
        self.answer(self.in_dialog("BYE", tag))
        self.seconds(2.0)
        self.assertEqual((self.ended, self.published()), ([ROOM], 0))
        told = len(self.answers)
        self.cables["east"].break_()
        self.seconds(GRACE)
        self.assertEqual((self.ended, len(self.answers)), ([ROOM], told))

    def test_an_agent_that_has_forgotten(self) -> None:
        self.join()
        self.seconds(1.0)
        self.states.stop()
        self.cables["east"].break_()
        self.seconds(GRACE)
        self.assertEqual(self.answers[-1], 412)
        self.assertEqual([line for line in self.lines if line.startswith("PUBLISH")], [])

    def test_one_that_answers_late_is_asked_again(self) -> None:
        self.join()
        self.seconds(1.0)
        self.cables["east"].break_()
        self.status = 503
        self.seconds(GRACE)
        self.assertEqual((self.answers[-1], self.ended), (503, []))
        self.status = None
        self.seconds(publications.RETRY)
        self.assertEqual(self.ended, [ROOM])

    def test_but_not_for_ever(self) -> None:
        self.join()
        self.seconds(1.0)
        self.cables["east"].break_()
        self.status = 503
        self.seconds(GRACE)
        told = len(self.answers)
        self.seconds(100.0)
        self.assertEqual(len(self.answers) - told, publications.TRIES - 1)
        (line,) = [line for line in self.lines if line.startswith("PUBLISH of the end of")]
        self.assertRegex(line, rf"{ROOM} failed: 503 .* \(Call-ID .+\)")

    def test_so_many_are_remembered(self) -> None:
        self.patch(publications, "MAX_ROOMS", 2)
        for number in range(3):
            self.join(f"call-{number}", f"room{number}")
        self.seconds(1.0)
        self.assertEqual((len(self.states), self.published()), (3, 2))

    def test_so_many_are_told_of_at_a_time(self) -> None:
        for number in range(publications.AT_ONCE + 3):
            self.join(f"call-{number}", f"room{number}")
        self.seconds(2.0)
        self.silent = []
        self.cables["east"].break_()
        self.seconds(GRACE)
        self.assertEqual(len(self.silent), publications.AT_ONCE)
        self.successResultOf(self.dispatcher.stopService())
        self.seconds(GRACE)
        self.assertEqual(len(self.silent), publications.AT_ONCE)

    def test_an_answer_that_comes_after_it_was_given_up(self) -> None:
        self.join()
        self.silent = []
        self.seconds(1.0)
        ((request, answer),) = self.silent
        self.silent = None
        self.cables["east"].break_()
        self.seconds(GRACE)
        # The agent has taken what the server said before it died.
        answer.callback(self.states.handle(request))
        self.assertEqual((self.ended, self.published()), ([ROOM], 0))


class GoingOnTests(MovingTestCase):
    """Rooms of a server that is lost go on at another; so does what was published of them."""

    def setUp(self) -> None:
        super().setUp()
        self.states = PublishedStates(self.clock)
        self.addCleanup(self.states.stop)
        self.answered: list[int] = []
        self.passed: list[Request] = []
        self.seen: list[list[str]] = []
        for server in self.servers.values():
            control = server.control
            publisher = Publisher(
                server.registry,
                server.registry.conferences,
                self.clock,
                control.send,
                control.new_tag,
            )
            self.addCleanup(publisher.stop)
            publisher.start()
        self.seconds(1.0)
        self.states.watch(lambda *_: self.seen.append(self.people()))

    def to_focus(self, request: Request) -> Response | Deferred[Response]:
        if request.method != "PUBLISH":
            return super().to_focus(request)
        self.passed.append(request)
        answer = self.states.handle(request)
        self.answered.append(answer.status)
        return answer

    def people(self) -> list[str]:
        found = self.states.find(ROOM)
        return [] if found is None else sorted(users(read(found.full(1))))

    def test_watchers_notice_nothing(self) -> None:
        everybody = [f"sip:{name}@example.com" for name in PEOPLE]
        self.assertEqual(self.people(), everybody)
        self.lose()
        self.seconds(publications.MOVING + 1)
        self.assertEqual(self.people(), everybody)
        # At no time was somebody not there.
        for people in self.seen:
            self.assertEqual(people, everybody)
        self.assertEqual(set(self.answered), {200})
        # It is the other's publication now.
        self.assertIsNone(self.states.kept(ROOM, self.lost))
        self.assertIsNotNone(self.states.kept(ROOM, self.other))
        self.assertEqual(self.dispatcher._publications._moving, {})

    def test_nor_where_a_server_stops(self) -> None:
        everybody = [f"sip:{name}@example.com" for name in PEOPLE]
        server = self.servers[self.lost]
        self.passed.clear()
        went = HandingOver(server.control, server.links, self.clock).run()
        self.turn()
        self.seconds(publications.MOVING + 1)
        self.assertEqual(self.successResultOf(went), 3)
        self.assertEqual(server.registry.rooms, {})
        self.assertEqual(self.people(), everybody)
        for people in self.seen:
            self.assertEqual(people, everybody)
        self.assertEqual(set(self.answered), {200})
        self.assertEqual(self.dispatcher._publications._handed_over[self.lost], {})
        # Also an agent that makes one document of none sees no end, and nobody leave.
        self.assertTrue(self.passed)
        for request in self.passed:
            self.assertNotEqual(request.expires, 0)
            self.assertIn(b"<user-count>3</user-count>", request.body)

    def test_a_room_that_the_server_has_still(self) -> None:
        everybody = [f"sip:{name}@example.com" for name in PEOPLE]
        server = self.servers[self.lost]
        room = server.registry.rooms[ROOM]
        room.static = True
        HandingOver(server.control, server.links, self.clock).run()
        self.turn()
        self.seconds(publications.LEAVING + 1)
        self.assertEqual((len(room.participants), self.people()), (0, everybody))
        self.assertIsNone(self.states.kept(ROOM, self.lost))
        # It may live there again: what it says counts again, by a publication of its own.
        room.subject = "Fish"
        self.seconds(2.0)
        self.assertIsNotNone(self.states.kept(ROOM, self.lost))
        self.assertEqual(self.people(), everybody)

    def test_the_agent_has_forgotten(self) -> None:
        self.states.stop()
        self.lose()
        self.seconds(2.0)
        self.assertIn(412, self.answered)
        self.assertEqual(len(self.people()), 3)

    def test_nobody_goes_on(self) -> None:
        ended: list[str] = []
        self.states.watch(lambda key, _, change: ended.append(key) if change is None else None)
        self.cables[self.other].break_()
        self.cables[self.lost].break_()
        self.seconds(GRACE)
        self.assertEqual(ended, [])
        self.seconds(publications.MOVING)
        self.assertEqual(ended, [ROOM])
        self.assertEqual(self.people(), [])

    def test_the_dispatcher_stops_meanwhile(self) -> None:
        self.cables[self.other].break_()
        self.lose()
        self.successResultOf(self.dispatcher.stopService())
        told = len(self.answered)
        self.seconds(publications.MOVING)
        self.assertEqual(len(self.answered), told)
