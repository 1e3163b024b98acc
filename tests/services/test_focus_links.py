"""Focuses and a dispatcher by itself, with servers, over links in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_hello import Hello
from msrpconf.protocols.channel_link import Link
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.services import waiting
from msrpconf.services.dispatcher_end import DispatcherEnd
from msrpconf.services.focus_links import FocusLinks
from tests.services.support import sip
from tests.services.test_dispatching import GRACE, Cable, DispatchTestCase

ADDRESS = ChannelAddress(path="/run/dispatcher")
FLOW = "udp/192.0.2.9:5070/192.0.2.1:5060/0"


class Focus:
    """A focus that has no SIP: what it asks by `end`, and what it was sent."""

    def __init__(self, clock: Any, name: str) -> None:
        self.sent: list[Request] = []
        self.end = DispatcherEnd(clock, name, ADDRESS, self.handle)

    def handle(self, request: Request) -> Response:
        self.sent.append(request)
        return request.response(200)


class ApartTestCase(DispatchTestCase):
    """A dispatcher by itself, the focuses "f1" and "f2", of which the first asks, and servers."""

    def setUp(self) -> None:
        self.focuses: dict[str, Focus] = {}
        self.focus_cables: dict[str, Cable] = {}
        super().setUp()

    def start(self, *connected: str, name: str = "dispatcher") -> None:
        self.side = FocusLinks(self.clock, name, ADDRESS)
        self.side.running = 1
        super().start(*connected, name=name)
        self.side.channel = self.dispatcher
        self.side.on_up = self.dispatcher.focus_came
        self.come("f1")

    def to_focus(self, request: Request) -> Any:
        return self.side.request(request)

    def come(self, name: str) -> None:
        """A focus starts, and connects."""
        focus = self.focuses[name] = Focus(self.clock, name)
        theirs = self.side.build(None)  # type: ignore[arg-type]
        assert theirs is not None
        self.focus_cables[name] = Cable((focus.end.build(), theirs))
        self.all_cables.append(self.focus_cables[name])
        self.turn()

    def go(self, name: str) -> None:
        """It is killed."""
        self.focus_cables[name].break_()

    def ask(self, request: Request) -> Deferred[Response]:
        return self.ask_by("f1", request)

    def ask_by(self, name: str, request: Request) -> Deferred[Response]:
        result = self.focuses[name].end.request(request)
        self.turn()
        return result

    def expel(self) -> Deferred[None]:
        """A server sends the only participant out."""
        (home,) = (each for each in self.servers.values() if each.calls)
        (participant,) = home.registry.participants()
        result = home.control.attendance.end(participant, Reason("SIP", 480, "Enough"))
        self.turn()
        return result

    def flows(self, name: str) -> list[tuple[str, str | None]]:
        """What a focus was sent: methods, and its own names for connections."""
        return [(each.method, each.headers.get("Flow")) for each in self.focuses[name].sent]


class RequestTests(ApartTestCase):
    def test_a_call_from_its_beginning_to_its_end(self) -> None:
        tag = self.join()
        self.assertEqual(self.answer(self.in_dialog("OPTIONS", tag)).status, 200)
        self.assertEqual(self.answer(self.in_dialog("BYE", tag)).status, 200)
        self.assertEqual(self.answer(self.in_dialog("BYE", tag)).status, 481)

    def test_the_way_back_to_a_client_that_came_straight_to_a_focus(self) -> None:
        self.come("f2")
        invite = self.invite()
        invite.headers.set("Flow", FLOW)
        response = self.successResultOf(self.ask_by("f2", invite))
        assert response.to.tag is not None
        ack = self.in_dialog("ACK", response.to.tag)
        self.successResultOf(self.ask_by("f2", ack))
        self.successResultOf(self.expel())
        self.assertEqual(self.flows("f2"), [("BYE", FLOW)])
        self.assertEqual(self.flows("f1"), [])

    def test_without_that_focus_it_goes_by_another(self) -> None:
        self.come("f2")
        invite = self.invite()
        invite.headers.set("Flow", FLOW)
        self.assertEqual(self.answer(invite).status, 200)
        self.go("f1")
        self.successResultOf(self.expel())
        self.assertEqual(self.flows("f2"), [("BYE", None)])

    def test_the_bye_for_a_server_that_is_gone(self) -> None:
        self.come("f2")
        invite = self.invite()
        invite.headers.set("Flow", FLOW)
        tag = self.successResultOf(self.ask_by("f2", invite)).to.tag
        assert tag is not None
        self.cables[self.home(tag)].break_()
        self.seconds(GRACE + 0.5)
        self.assertEqual(self.flows("f2"), [("BYE", FLOW)])
        self.assertEqual(self.flows("f1"), [])

    def test_a_server_whose_link_is_lost_meanwhile(self) -> None:
        tag = self.join()
        asking = self.focuses["f1"].end.request(self.in_dialog("OPTIONS", tag))
        self.focus_cables["f1"].turn()
        self.cables[self.home(tag)].break_()
        self.turn()
        response = self.successResultOf(asking)
        self.assertEqual(response.status, 503)
        self.assertEqual(response.headers.get("Retry-After"), "5")


class FocusAwayTests(ApartTestCase):
    def test_what_servers_have_to_say_waits_for_one(self) -> None:
        self.join()
        self.go("f1")
        ending = self.expel()
        self.assertNoResult(ending)
        self.assertEqual(self.side.waiting, 1)
        self.seconds(30)
        self.come("f1")
        self.successResultOf(ending)
        self.assertEqual(self.flows("f1"), [("BYE", None)])

    def test_but_not_for_ever_and_not_without_a_bound(self) -> None:
        self.go("f1")
        self.patch(waiting, "MAX_WAITING", 2)
        asked = [self.side.request(sip("REFER")) for _ in range(3)]
        self.failureResultOf(asked[2], ChannelClosed)
        self.clock.advance(waiting.WAIT)
        for each in asked[:2]:
            self.failureResultOf(each, ChannelClosed)
        self.assertEqual(self.side.waiting, 0)

    def test_a_server_is_told_that_there_is_none(self) -> None:
        """Without a traceback: it is nobody's fault."""
        self.go("f1")
        link = next(iter(self.servers["east"].links.links.values()))
        answer = link.request(sip("PUBLISH"))
        self.turn()
        self.assertEqual(self.successResultOf(answer).status, 503)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_publish_does_not_wait_and_all_is_published_when_one_comes(self) -> None:
        told: list[str] = []
        for name, server in self.servers.items():
            server.links.on_up = lambda name=name: told.append(name)  # type: ignore[misc]
        self.go("f1")
        self.failureResultOf(self.side.request(sip("PUBLISH")), ChannelClosed)
        self.assertEqual(told, [])
        self.come("f1")
        self.assertEqual(sorted(told), ["east", "west"])

    def test_people_are_where_they_were_when_it_is_back(self) -> None:
        tag = self.join()
        self.go("f1")
        self.seconds(GRACE * 3)
        self.come("f1")
        self.assertEqual(self.answer(self.in_dialog("BYE", tag)).status, 200)
        self.assertEqual([server.calls for server in self.servers.values()], [[], []])


class DispatcherAwayTests(ApartTestCase):
    def test_a_focus_without_it_is_told_so(self) -> None:
        self.go("f1")
        self.failureResultOf(self.focuses["f1"].end.request(self.invite()), ChannelClosed)

    def test_what_was_under_way_is_lost(self) -> None:
        asking = self.focuses["f1"].end.request(self.invite())
        self.go("f1")
        self.failureResultOf(asking, ChannelClosed)


class AdmissionTests(ApartTestCase):
    def test_two_focuses_of_one_name(self) -> None:
        self.come("f1")
        why = "another focus is called f1: [focus] name must differ"
        self.assertIn(
            f"refused: a channel from unix:/run/dispatcher: refused: 403 {why}", self.lines
        )
        self.assertEqual(list(self.side.links), ["f1"])

    def test_who_is_no_focus(self) -> None:
        link = self.side.build(None)  # type: ignore[arg-type]
        assert link is not None
        why = self.side.admit(link, Hello("west", "server"))
        self.assertEqual(why, "a dispatcher has no links to a server")
        end = self.focuses["f1"].end
        ours: Link = end.build()
        self.assertEqual(end.admit(ours, Hello("x", "server")), "a focus has no links to a server")
