"""A dispatcher and servers in memory: links whose octets are passed by `turn`, and a clock."""

from __future__ import annotations

from typing import Any

from sqlalchemy import StaticPool, create_engine, select
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.settings import ServerSettings
from msrpconf.dispatch.records import Changes
from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_codec import ChannelParser
from msrpconf.protocols.channel_hello import Hello
from msrpconf.protocols.channel_link import Link
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.services import claims, routing, waiting
from msrpconf.services.claims import RoomClaims
from msrpconf.services.dispatcher import DispatcherService
from msrpconf.services.dispatchers import DispatcherLinks
from msrpconf.services.server_end import ServerEnd
from msrpconf.storage import schema
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.schema import prepare
from tests.services.support import sip

ROOM = "sip:lobby@conf.example.com"
GRACE = 5.0
OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
    b"m=message 9 TCP/MSRP *\r\na=accept-types:message/cpim text/plain\r\n"
    b"a=path:msrp://192.0.2.9:9/abc;tcp\r\na=setup:active\r\n"
)


class Pipe(StringTransport):
    def abortConnection(self) -> None:
        self.disconnecting = True


class Cable:
    """A connection between a dispatcher's end and a server's."""

    def __init__(self, ends: tuple[Link, Link]) -> None:
        self.ends = ends
        self.pipes = [Pipe(), Pipe()]
        self.cut = False
        for link, pipe in zip(ends, self.pipes, strict=True):
            link.makeConnection(pipe)

    def turn(self) -> bool:
        """Pass what there is; whether there was something."""
        passed = False
        for mine, other in ((0, 1), (1, 0)):
            octets = self.pipes[mine].value()
            self.pipes[mine].clear()
            if octets and not self.cut:
                passed = True
                self.ends[other].dataReceived(octets)
        if any(pipe.disconnecting for pipe in self.pipes) and not self.cut and not passed:
            self.break_()
        return passed

    def break_(self) -> None:
        self.cut = True
        for link in self.ends:
            link.connectionLost()


class Server:
    """A server with its registry, as a process would have it."""

    def __init__(self, clock: Any, name: str) -> None:
        self.registry = ConferenceRegistry(clock)
        settings = ServerSettings(name=name, max_rooms=100, msrp_timeout=1000.0)
        self.control = ConferenceControl(self.registry, clock, settings, lambda *_: None)
        address = ChannelAddress(path=f"/run/{name}")
        self.links = DispatcherLinks(clock, self.control, address)
        self.links.running = 1
        self.control.channel = self.links

    @property
    def calls(self) -> list[str]:
        return sorted(participant.dialog.call_id for participant in self.registry.participants())


class DispatchTestCase(SynchronousTestCase):
    names: tuple[str, ...] = ("east", "west")
    moves = False

    def setUp(self) -> None:
        self.lines: list[str] = []
        observer: Any = lambda event: self.lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.clock = Clock()
        self.sent: list[Request] = []
        self.servers = {name: Server(self.clock, name) for name in self.names}
        self.cables: dict[str, Cable] = {}
        self.all_cables: list[Cable] = []
        self.start()

    def start(self, *connected: str, name: str = "focus-1") -> None:
        """A dispatcher, connected to these servers, or to all."""
        addresses = [server.links._address for server in self.servers.values()]
        self.dispatcher = DispatcherService(
            self.clock, name, addresses, self.to_focus, grace=GRACE, moves=self.moves
        )
        self.ends = dict(zip(self.servers, self.dispatcher.ends, strict=True))
        for end in self.ends.values():
            end.start = lambda: None  # type: ignore[method-assign]
        self.dispatcher.startService()
        self.cables = {}
        for each in connected or self.names:
            self.connect(each)

    def to_focus(self, request: Request) -> Response | Deferred[Response]:
        self.sent.append(request)
        return request.response(200)

    def connect(self, name: str) -> None:
        end: ServerEnd = self.ends[name]
        theirs = self.servers[name].links.build(None)  # type: ignore[arg-type]
        assert theirs is not None
        self.cables[name] = Cable((self.dispatcher.link(end), theirs))
        self.all_cables.append(self.cables[name])
        self.turn()

    def restart(self, name: str) -> None:
        """The process dies, and another begins."""
        self.cables[name].break_()
        self.servers[name] = Server(self.clock, name)
        self.connect(name)

    def turn(self) -> None:
        while sum(cable.turn() for cable in self.all_cables):
            pass

    def seconds(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)
            self.turn()

    def ask(self, request: Request) -> Deferred[Response]:
        result = self.dispatcher.request(request)
        self.turn()
        return result

    def answer(self, request: Request) -> Response:
        return self.successResultOf(self.ask(request))

    def invite(self, call_id: str = "call-1", room: str = "lobby", **changes: Any) -> Request:
        uri = f"sip:{room}@conf.example.com"
        return sip(
            "INVITE",
            f"Conference: {uri}",
            uri=uri,
            to=f"<{uri}>",
            call_id=call_id,
            body=OFFER,
            **changes,
        )

    def join(self, call_id: str = "call-1", room: str = "lobby", **changes: Any) -> str:
        """Somebody joins; our tag of the dialog."""
        response = self.answer(self.invite(call_id, room, **changes))
        self.assertEqual(response.status, 200, response.reason)
        tag = response.to.tag
        assert tag is not None
        self.answer(self.in_dialog("ACK", tag, call_id))
        return tag

    def in_dialog(self, method: str, tag: str, call_id: str = "call-1", cseq: int = 2) -> Request:
        number = 1 if method in {"ACK", "CANCEL"} else cseq
        return sip(method, to_tag=tag, call_id=call_id, cseq=number)

    def home(self, tag: str) -> str:
        return tag.partition(".")[0]

    def byes(self) -> list[str]:
        return [request.call_id for request in self.sent if request.method == "BYE"]


class ToldTests(DispatchTestCase):
    names = ("east",)

    def test_calls_of_one_moment_are_told_of_once_and_before_the_answers(self) -> None:
        cable = self.cables["east"]
        for call_id in ("call-1", "call-2"):
            self.dispatcher.request(self.invite(call_id))
        octets = cable.pipes[0].value()
        cable.pipes[0].clear()
        cable.ends[1].dataReceived(octets)
        found = [each.message for each in ChannelParser().receive(cable.pipes[1].value())]
        kinds = [each.method if isinstance(each, Request) else each.status for each in found]
        self.assertEqual(kinds, ["SYNC", 200, 200])
        self.turn()
        self.assertEqual(len(self.dispatcher.tables.servers["east"].dialogs), 2)


class PlacementTests(DispatchTestCase):
    def test_a_live_room_stays_where_it_is(self) -> None:
        homes = {self.home(self.join(f"call-{number}")) for number in range(10)}
        self.assertEqual(len(homes), 1)

    def test_new_rooms_spread(self) -> None:
        homes = {self.home(self.join(f"c{number}", f"room{number}")) for number in range(20)}
        self.assertEqual(homes, {"east", "west"})

    def test_who_comes_while_the_first_is_not_answered_goes_the_same_way(self) -> None:
        first, second = (self.dispatcher.request(self.invite(call)) for call in ("a", "b"))
        self.turn()
        tags = [self.successResultOf(each).to.tag or "" for each in (first, second)]
        self.assertEqual(self.home(tags[0]), self.home(tags[1]))

    def test_in_a_dialog_the_tag_says_where(self) -> None:
        tag = self.join()
        self.assertEqual(self.answer(self.in_dialog("BYE", tag)).status, 200)
        self.assertEqual(self.servers[self.home(tag)].calls, [])
        self.assertIsNone(self.dispatcher.tables.home(ROOM))

    def test_a_tag_of_nobody_is_481(self) -> None:
        response = self.answer(self.in_dialog("BYE", "north.1"))
        self.assertEqual(response.status, 481)
        self.assertIn("refused: BYE to sip:lobby@conf.example.com: 481 ", self.lines[-1])
        self.assertIn("(Call-ID call-1)", self.lines[-1])

    def test_a_cancel_goes_where_its_invite_went(self) -> None:
        tag = self.answer(self.invite()).to.tag or ""
        self.assertEqual(self.servers[self.home(tag)].calls, ["call-1"])
        self.assertEqual(self.answer(sip("CANCEL")).status, 200)
        self.assertEqual(self.servers[self.home(tag)].calls, [])
        self.assertIsNone(self.dispatcher.tables.home(ROOM))

    def test_a_cancel_of_nothing(self) -> None:
        self.assertEqual(self.answer(sip("CANCEL")).status, 481)

    def test_no_server(self) -> None:
        for cable in self.cables.values():
            cable.break_()
        response = self.answer(self.invite())
        self.assertEqual(response.status, 503)
        self.assertEqual(response.headers.get("Retry-After"), "5")

    def test_a_server_that_drains(self) -> None:
        tag = self.join()
        home = self.home(tag)
        self.servers[home].links._watch.start(1.0)
        self.servers[home].registry.draining = True
        self.seconds(1)
        self.assertIn(f"server {home} drains: it gets no new rooms", self.lines)
        others = {self.home(self.join(f"c{number}", f"room{number}")) for number in range(10)}
        self.assertEqual(others, {"east", "west"} - {home})
        self.assertEqual(self.answer(self.in_dialog("BYE", tag)).status, 200)
        self.servers[home].registry.draining = False
        self.seconds(1)
        self.assertIn(f"server {home} takes new rooms again", self.lines)
        self.servers[home].links._watch.stop()

    def test_a_server_that_drains_and_has_not_said_so_yet(self) -> None:
        self.servers["east"].registry.draining = True
        homes = {self.home(self.join(f"c{number}", f"room{number}")) for number in range(10)}
        self.assertEqual(homes, {"west"})

    def test_two_servers_of_one_name(self) -> None:
        self.servers["west"].control.settings = ServerSettings(name="east")
        self.cables["west"].break_()
        self.connect("west")
        self.assertIn(
            "another server is called east: [server] name must differ", "".join(self.lines)
        )


class StartTests(DispatchTestCase):
    def test_what_is_for_unknown_rooms_waits_until_all_have_told(self) -> None:
        tag = self.join()
        home = self.home(tag)
        (other,) = {"east", "west"} - {home}
        for cable in self.cables.values():
            cable.break_()
        self.start(other)
        self.assertFalse(self.dispatcher.settled)
        joining = self.ask(self.invite("call-2"))
        self.assertNoResult(joining)
        self.connect(home)
        self.assertTrue(self.dispatcher.settled)
        self.assertEqual(self.home(self.successResultOf(joining).to.tag or ""), home)

    def test_but_no_longer_than_the_grace_time(self) -> None:
        for cable in self.cables.values():
            cable.break_()
        self.start("east")
        joining = self.ask(self.invite())
        self.seconds(GRACE)
        self.assertEqual(self.home(self.successResultOf(joining).to.tag or ""), "east")

    def test_who_waits_may_cancel(self) -> None:
        for cable in self.cables.values():
            cable.break_()
        self.start("east")
        joining = self.ask(self.invite())
        self.assertEqual(self.answer(sip("CANCEL")).status, 200)
        self.assertEqual(self.successResultOf(joining).status, 487)
        self.seconds(GRACE)
        self.assertEqual(self.servers["east"].calls, [])

    def test_so_many_may_wait(self) -> None:
        self.patch(routing, "MAX_HELD", 2)
        for cable in self.cables.values():
            cable.break_()
        self.start("east")
        waiting = [self.ask(self.invite(f"c{number}")) for number in range(3)]
        self.assertNoResult(waiting[1])
        self.assertEqual(self.successResultOf(waiting[2]).status, 503)

    def test_a_dispatcher_that_is_new_knows_what_the_old_one_knew(self) -> None:
        tags = [self.join(f"c{number}", f"room{number}") for number in range(10)]
        for cable in self.cables.values():
            cable.break_()
        self.start()
        for number, tag in enumerate(tags):
            again = self.join(f"d{number}", f"room{number}")
            self.assertEqual(self.home(again), self.home(tag))
            self.assertEqual(self.answer(self.in_dialog("BYE", tag, f"c{number}")).status, 200)


class LossTests(DispatchTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tag = self.join()
        self.lost = self.home(self.tag)
        (self.other,) = {"east", "west"} - {self.lost}

    def test_back_in_time_nobody_notices(self) -> None:
        self.cables[self.lost].break_()
        self.seconds(GRACE - 1)
        self.connect(self.lost)
        self.seconds(30)
        self.assertEqual(self.sent, [])
        self.assertEqual(self.home(self.join("call-2")), self.lost)
        self.assertEqual(self.answer(self.in_dialog("BYE", self.tag)).status, 200)

    def test_meanwhile_the_room_is_nowhere_else(self) -> None:
        self.cables[self.lost].break_()
        response = self.answer(self.invite("call-2"))
        self.assertEqual(response.status, 503)
        self.assertEqual(response.headers.get("Retry-After"), "5")
        self.assertEqual(self.answer(self.in_dialog("OPTIONS", self.tag)).status, 503)
        self.assertEqual(self.home(self.join("call-3", "another")), self.other)

    def test_who_hangs_up_meanwhile_is_gone(self) -> None:
        self.cables[self.lost].break_()
        self.assertEqual(self.answer(self.in_dialog("BYE", self.tag)).status, 200)
        self.connect(self.lost)
        self.assertEqual(self.servers[self.lost].calls, [])
        self.assertEqual(self.sent, [])

    def test_who_has_hung_up_gets_no_bye(self) -> None:
        self.cables[self.lost].break_()
        self.answer(self.in_dialog("BYE", self.tag))
        self.seconds(GRACE)
        self.assertEqual(self.byes(), [])

    def test_after_the_grace_time_everybody_gets_a_bye(self) -> None:
        self.join("call-2", "lobby")
        self.cables[self.lost].break_()
        self.seconds(GRACE)
        self.assertEqual(sorted(self.byes()), ["call-1", "call-2"])
        bye = self.sent[0]
        self.assertEqual(Reason.parse(bye.headers.get("Reason") or "").cause, 503)
        self.assertEqual(bye.to.tag, "a1")
        self.assertEqual(str(bye.uri), "sip:alice@192.0.2.9:5070")
        self.assertEqual(self.home(self.join("call-3")), self.other)
        self.assertEqual(self.answer(self.in_dialog("BYE", self.tag)).status, 481)

    def test_back_too_late_it_sends_them_out(self) -> None:
        self.cables[self.lost].break_()
        self.seconds(GRACE)
        again = self.join("call-3")
        self.connect(self.lost)
        self.assertEqual(self.servers[self.lost].calls, [])
        self.assertEqual(self.home(again), self.other)
        self.assertIs(self.dispatcher.tables.home(ROOM), self.dispatcher.tables.servers[self.other])

    def test_back_without_its_calls(self) -> None:
        self.restart(self.lost)
        self.assertEqual(self.byes(), ["call-1"])
        self.seconds(GRACE)
        self.assertEqual(self.byes(), ["call-1"])

    def test_a_client_that_came_straight_to_us_is_reached_by_its_flow(self) -> None:
        flow = "udp/127.0.0.1:5060/192.0.2.9:5070/0"
        request = self.invite("call-2")
        request.headers.add("Flow", flow)
        self.assertEqual(self.answer(request).status, 200)
        self.cables[self.lost].break_()
        self.seconds(GRACE)
        flows = {each.call_id: each.headers.get("Flow") for each in self.sent}
        self.assertEqual(flows, {"call-1": None, "call-2": flow})

    def test_a_request_that_is_under_way(self) -> None:
        asking = self.dispatcher.request(self.in_dialog("OPTIONS", self.tag))
        self.cables[self.lost].break_()
        self.failureResultOf(asking, ChannelClosed)

    def test_a_server_that_is_silent(self) -> None:
        self.cables[self.lost].turn = lambda: False  # type: ignore[method-assign]
        self.seconds(16)
        self.assertTrue(self.cables[self.lost].pipes[0].disconnecting)


class ServerSideTests(DispatchTestCase):
    names = ("east",)

    def setUp(self) -> None:
        super().setUp()
        self.tag = self.join()
        self.east = self.servers["east"]

    def end(self, call_id: str = "call-1") -> Deferred[None]:
        """The server sends somebody out."""
        (participant,) = (
            each for each in self.east.registry.participants() if each.dialog.call_id == call_id
        )
        result = self.east.control.attendance.end(participant, Reason("SIP", 480, "Enough"))
        self.turn()
        return result

    def test_who_is_sent_out_is_out_everywhere(self) -> None:
        self.successResultOf(self.end())
        self.assertEqual(self.byes(), ["call-1"])
        self.assertIsNone(self.dispatcher.tables.home(ROOM))

    def test_what_is_to_be_said_waits_for_a_dispatcher(self) -> None:
        self.cables["east"].break_()
        ending = self.end()
        self.assertNoResult(ending)
        self.seconds(GRACE - 1)
        self.connect("east")
        self.successResultOf(ending)
        self.assertEqual(self.byes(), ["call-1"])

    def test_a_bye_that_is_lost_with_its_link_is_said_again_once(self) -> None:
        (participant,) = self.east.registry.participants()
        ending = self.east.control.attendance.end(participant, Reason("SIP", 480, "Enough"))
        self.cables["east"].break_()
        self.assertEqual((self.byes(), self.east.links.waiting), ([], 1))
        self.connect("east")
        self.successResultOf(ending)
        self.assertEqual(self.byes(), ["call-1"])

    def test_but_no_more_than_once(self) -> None:
        answer = self.east.links.request(sip("BYE"))
        self.cables["east"].break_()
        cable = Cable((self.dispatcher.link(self.ends["east"]), self.build()))
        # Greeted, and lost before what waited was answered.
        while not self.east.links.links:
            cable.turn()
        cable.break_()
        self.failureResultOf(answer, ChannelClosed)
        self.assertEqual(self.east.links.waiting, 0)

    def build(self) -> Link:
        link = self.east.links.build(None)  # type: ignore[arg-type]
        assert link is not None
        return link

    def test_what_else_is_lost_with_its_link_fails(self) -> None:
        asking = self.east.links.request(sip("REFER"))
        self.cables["east"].break_()
        self.failureResultOf(asking, ChannelClosed)
        self.assertEqual(self.east.links.waiting, 0)

    def test_but_not_for_ever(self) -> None:
        self.cables["east"].break_()
        self.dispatcher.running = 0
        ending = self.end()
        self.seconds(waiting.WAIT)
        self.successResultOf(ending)
        self.assertIn("no dispatcher was connected for 120 s", "".join(self.lines))

    def test_so_much_waits(self) -> None:
        self.patch(waiting, "MAX_WAITING", 2)
        self.cables["east"].break_()
        asked = [self.east.links.request(sip("REFER")) for _ in range(3)]
        self.assertNoResult(asked[1])
        self.failureResultOf(asked[2], ChannelClosed)
        asked[0].addErrback(lambda failure: None).cancel()
        self.assertNoResult(self.east.links.request(sip("REFER")))

    def test_the_flow_goes_back_to_whom_it_came_from_only(self) -> None:
        for name, flow in (("focus-1", "udp/a/b/0"), ("focus-2", None)):
            request = sip("REFER")
            request.headers.set("Flow", f"{name}|udp/a/b/0")
            answer = self.east.links.request(request)
            self.turn()
            self.assertEqual(self.successResultOf(answer).status, 200)
            self.assertEqual(self.sent[-1].headers.get("Flow"), flow)

    def test_a_new_way_to_a_client_is_told(self) -> None:
        request = self.in_dialog("UPDATE", self.tag)
        request.headers.set("Contact", "<sip:alice@192.0.2.9:9999>")
        self.assertEqual(self.answer(request).status, 200)
        (record,) = self.dispatcher.tables.servers["east"].dialogs.values()
        self.assertEqual(record.target, "sip:alice@192.0.2.9:9999")

    def test_what_only_servers_send(self) -> None:
        link = self.dispatcher.links["east"]
        answer = link.request(sip("SYNC"))
        self.turn()
        self.assertEqual(self.successResultOf(answer).status, 501)

    def test_a_sync_that_cannot_be_read(self) -> None:
        sync = self.east.links.telling.sync("change", Changes())
        sync.body = b"{"
        answer = self.east.links.links["focus-1"].request(sync)
        self.turn()
        self.assertEqual(self.successResultOf(answer).status, 400)
        self.assertIn("server east told what cannot be read: the body is not JSON", self.lines[-1])

    def test_a_request_without_the_headers_of_sip(self) -> None:
        broken = sip("OPTIONS")
        broken.headers.remove("To")
        answer = self.dispatcher.links["east"].request(broken)
        self.turn()
        self.assertEqual(self.successResultOf(answer).status, 400)

    def test_a_dispatcher_that_connects_anew_replaces_its_link(self) -> None:
        before = self.east.links.links["focus-1"]
        self.dispatcher.links.clear()
        self.connect("east")
        self.turn()
        self.assertIsNot(self.east.links.links["focus-1"], before)
        self.assertEqual(len(self.east.links.links), 1)

    def test_a_server_is_no_dispatcher(self) -> None:
        link = self.east.links.build(None)  # type: ignore[arg-type]
        assert link is not None
        why = self.east.links.admit(link, Hello("west", "server"))
        self.assertEqual(why, "a server has no links to a server")


class Here:
    """A database that is asked at once: SQLite in memory."""

    name = "database here"

    def __init__(self) -> None:
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        self.away = False
        with self.engine.begin() as connection:
            prepare(connection)

    def run(self, work: Any, patience: float | None = None) -> Deferred[Any]:
        if self.away:
            return fail(DatabaseError(f"{self.name}: it is away"))
        with self.engine.begin() as connection:
            return succeed(work(connection))


class TwoDispatchersTestCase(DispatchTestCase):
    """Two dispatchers and two servers, and the database that the dispatchers share."""

    def setUp(self) -> None:
        self.database: Any = Here()
        self.dispatchers: dict[str, tuple[Any, Any, Any]] = {}
        super().setUp()
        self.start(name="focus-2")
        self.use("focus-1")
        self.seconds(1)

    def start(self, *connected: str, name: str = "focus-1") -> None:
        super().start(*connected, name=name)
        dispatcher = self.dispatcher
        shared = RoomClaims(self.database, self.clock, name, lambda: dispatcher.rooms, GRACE)
        dispatcher.share(shared)
        shared.startService()
        self.dispatchers[name] = dispatcher, self.ends, self.cables

    def use(self, name: str) -> None:
        """What is asked is asked of this one."""
        self.dispatcher, self.ends, self.cables = self.dispatchers[name]

    def kill(self, name: str) -> None:
        """A dispatcher dies."""
        dispatcher, _, cables = self.dispatchers.pop(name)
        dispatcher.claims.stopService()
        dispatcher.running = 0
        for timer in dispatcher._away.values():
            timer.cancel()
        for cable in cables.values():
            if not cable.cut:
                cable.break_()

    def kill_server(self, name: str) -> None:
        for _, _, cables in self.dispatchers.values():
            cables[name].break_()


class TwoDispatchersTests(TwoDispatchersTestCase):
    def test_they_know_the_same(self) -> None:
        tag = self.join()
        self.use("focus-2")
        self.assertEqual(self.home(self.join("call-2")), self.home(tag))
        self.assertEqual(self.answer(self.in_dialog("BYE", tag)).status, 200)
        self.assertEqual(self.servers[self.home(tag)].calls, ["call-2"])

    def test_a_room_does_not_begin_twice_where_they_disagree_on_who_is_up(self) -> None:
        self.cables["west"].break_()
        self.assertEqual(self.home(self.join()), "east")
        self.use("focus-2")
        self.cables["east"].break_()
        self.seconds(3 * GRACE)
        response = self.answer(self.invite("call-2"))
        self.assertEqual(response.status, 503)
        self.assertEqual(self.servers["west"].calls, [])
        self.connect("east")
        self.assertEqual(self.home(self.join("call-2")), "east")

    def test_nor_where_both_begin_it_in_one_moment(self) -> None:
        self.cables["west"].break_()
        first = self.dispatcher.request(self.invite("call-1"))
        self.use("focus-2")
        self.cables["east"].break_()
        second = self.dispatcher.request(self.invite("call-2"))
        self.turn()
        self.assertEqual(self.successResultOf(first).status, 200)
        self.assertEqual(self.successResultOf(second).status, 503)

    def test_a_link_that_one_of_them_has_lost_ends_nothing(self) -> None:
        tag = self.join()
        home = self.home(tag)
        self.cables[home].break_()
        self.seconds(4 * GRACE)
        self.assertEqual(self.sent, [])
        self.assertEqual(self.answer(self.in_dialog("OPTIONS", tag)).status, 503)
        self.use("focus-2")
        self.assertEqual(self.home(self.join("call-2")), home)

    def test_a_server_that_all_have_lost(self) -> None:
        tag = self.join()
        home = self.home(tag)
        self.use("focus-2")
        self.join("call-2")
        self.kill_server(home)
        self.seconds(3 * GRACE)
        self.assertEqual(sorted(self.byes()), ["call-1", "call-2"])
        self.assertNotEqual(self.home(self.join("call-3")), home)

    def test_a_dispatcher_and_then_a_server_die(self) -> None:
        home = self.home(self.join())
        self.kill("focus-1")
        self.use("focus-2")
        self.seconds(3 * GRACE)
        self.kill_server(home)
        self.seconds(3 * GRACE)
        self.assertEqual(self.byes(), ["call-1"])

    def test_a_dispatcher_and_a_server_die_in_one_moment(self) -> None:
        home = self.home(self.join())
        self.kill_server(home)
        self.kill("focus-1")
        self.use("focus-2")
        self.seconds(4 * GRACE)
        self.assertEqual(self.byes(), ["call-1"])

    def test_a_dispatcher_that_is_back_knows_nothing_of_a_server_that_died_meanwhile(self) -> None:
        home = self.home(self.join())
        (other,) = {"east", "west"} - {home}
        self.kill("focus-1")
        self.seconds(1)
        self.kill_server(home)
        self.start(other)
        self.use("focus-2")
        self.seconds(4 * GRACE)
        self.assertEqual(self.byes(), ["call-1"])

    def test_a_claim_moves_from_a_server_that_drains(self) -> None:
        tag = self.join()
        home = self.home(tag)
        self.answer(self.in_dialog("BYE", tag))
        self.servers[home].registry.draining = True
        again = self.home(self.join("call-2"))
        self.assertNotEqual(again, home)
        self.use("focus-2")
        self.assertEqual(self.home(self.join("call-3")), again)

    def test_without_the_database_rooms_that_live_go_on(self) -> None:
        tag = self.join()
        self.database.away = True
        self.seconds(3 * GRACE)
        self.assertEqual(self.home(self.join("call-2")), self.home(tag))
        response = self.answer(self.invite("call-3", "another"))
        self.assertEqual(response.status, 503)
        said = [line for line in self.lines if line.endswith("no new room can be claimed")]
        self.assertEqual(len(said), 2)  # once by each
        self.database.away = False
        self.seconds(2)
        self.join("call-3", "another")

    def test_what_is_over_leaves_nothing_behind(self) -> None:
        self.patch(claims, "UNUSED", 20.0)
        self.join("call-0", "lasting")
        for number in range(20):
            tag = self.join(f"c{number}", f"room{number}")
            self.answer(self.in_dialog("BYE", tag, f"c{number}"))
        self.seconds(40)
        with self.database.engine.begin() as connection:
            left = list(connection.scalars(select(schema.claims.c.room)))
        self.assertEqual(left, ["sip:lasting@conf.example.com"])
