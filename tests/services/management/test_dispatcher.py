"""A dispatcher's tables and links, as an operator and Prometheus see them."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from msrpconf.services.focus_checks import FocusSettings
from msrpconf.services.focus_service import FocusService
from msrpconf.services.goodbyes import FAILED
from msrpconf.services.management.dispatcher_api import dispatcher_functions
from msrpconf.services.management.dispatcher_operations import DISPATCHER
from msrpconf.services.management.focus_api import FOCUS, focus_functions
from msrpconf.services.management.guard import Guard
from msrpconf.services.management.http import ManagementFactory
from msrpconf.services.management.link_metrics import server_link_metrics
from msrpconf.services.management.parts import DispatcherParts, FocusParts
from msrpconf.services.management.router import Router
from tests.services.management.support import Operator
from tests.services.management.test_metrics import samples
from tests.services.support import sip
from tests.services.test_dispatching import GRACE, DispatchTestCase, Server
from tests.services.test_focus_links import ApartTestCase

SERVERS = "/v1/dispatcher/servers"
ROOMS = "/v1/dispatcher/rooms"


class ManagedDispatcherTestCase(DispatchTestCase):
    def start(self, *connected: str, name: str = "focus-1") -> None:
        super().start(*connected, name=name)
        parts = DispatcherParts(
            reactor=self.clock,
            dispatcher=self.dispatcher,
            focus=None,
            listening=lambda: ["sip udp:192.0.2.1:5060"],
            started=lambda: True,
            reload=Deferred,
        )
        router = Router(Guard(None, True), dispatcher_functions(parts, False), DISPATCHER)
        self.operator = Operator()
        self.operator.factory = ManagementFactory(router, self.clock)

    def state(self, name: str) -> str:
        return str(self.operator.get(f"{SERVERS}/{name}")["state"])

    def value(self, name: str, **labels: str) -> float:
        """One metric of now."""
        found = samples(self.operator.ask("GET", "/metrics").body)
        return found[f"msrpconf_{name}", tuple(sorted(labels.items()))]


class ServersTests(ManagedDispatcherTestCase):
    def test_the_servers(self) -> None:
        self.servers["east"].registry.draining = True
        self.servers["east"].links.tell_draining()
        self.turn()
        home = self.home(self.join())
        east, west = self.operator.get(SERVERS)["servers"]
        self.assertEqual((home, west["rooms"], west["dialogs"]), ("west", 1, 1))
        self.assertEqual(
            (east["name"], east["state"], east["draining"]), ("east", "connected", True)
        )
        self.assertEqual(
            (west["name"], west["state"], west["draining"]), ("west", "connected", False)
        )
        self.assertGreater(west["capacity"], 0)
        self.assertEqual(west["address"], str(self.ends["west"].address))
        self.assertIsNone(west["error"])

    def test_one_that_was_never_connected_is_named_by_its_address(self) -> None:
        self.start("west")
        address = str(self.ends["east"].address).replace("/", "%2F")
        found = self.operator.get(f"{SERVERS}/{address}")
        self.assertEqual((found["name"], found["state"]), (None, "connecting"))
        self.operator.refused(
            self.operator.ask("GET", f"{SERVERS}/east"), 404, "there is no server east"
        )

    def test_one_that_is_lost_and_given_up_and_back(self) -> None:
        self.assertEqual(self.state("east"), "connected")
        self.clock.advance(1)
        self.cables["east"].break_()
        found = self.operator.get(f"{SERVERS}/east")
        self.assertEqual((found["state"], found["since"]), ("lost", "1970-01-01T00:00:01Z"))
        self.assertEqual(found["error_at"], found["since"])
        self.assertTrue(found["error"])
        self.seconds(GRACE + 0.5)
        self.assertEqual(self.state("east"), "given up")
        self.assertEqual(self.value("servers_given_up_total"), 1)
        self.connect("east")
        self.assertEqual(self.state("east"), "connected")
        self.assertEqual(self.operator.get(f"{SERVERS}/east")["connects"], 2)

    def test_another_in_the_place_of_one_that_is_lost(self) -> None:
        self.cables["east"].break_()
        server = Server(self.clock, "north")
        self.servers["east"] = server
        self.connect("east")
        self.assertEqual(self.operator.get(f"{SERVERS}/east")["address"], None)
        self.assertEqual(self.state("north"), "connected")
        self.seconds(GRACE + 0.5)
        names = [each["name"] for each in self.operator.get(SERVERS)["servers"]]
        self.assertEqual(names, ["north", "west"])
        self.assertNotIn("east", self.dispatcher.tables.servers)

    def test_draining(self) -> None:
        server = self.servers["east"]
        server.links.draining.changed = server.links.tell_draining
        self.operator.meanwhile = self.turn
        reply = self.operator.ask("PUT", f"{SERVERS}/east/drain?deadline=60")
        self.assertEqual((reply.status, reply.json["draining"]), (200, True))
        self.assertEqual(server.links.draining.deadline, 60)
        reply = self.operator.ask("DELETE", f"{SERVERS}/east/drain")
        self.assertEqual((reply.status, reply.json["draining"]), (200, False))
        self.cables["east"].break_()
        reply = self.operator.ask("PUT", f"{SERVERS}/east/drain")
        self.operator.refused(reply, 409, "server east is not connected, but lost")
        reply = self.operator.ask("PUT", f"{SERVERS}/north/drain")
        self.operator.refused(reply, 404, "there is no server north")

    def test_a_ping_says_how_long_it_took(self) -> None:
        self.assertIsNone(self.operator.get(f"{SERVERS}/east")["pinged"])
        self.seconds(6)
        found = self.operator.get(f"{SERVERS}/east")
        self.assertEqual(found["pinged"], "1970-01-01T00:00:05Z")
        self.assertEqual(found["round_trip"], 0)

    def test_at_a_glance(self) -> None:
        self.join()
        found = self.operator.get("/v1/status")
        self.assertEqual((found["dispatcher"], found["ready"]), ("focus-1", True))
        self.assertEqual(found["servers"], {"total": 2, "connected": 2, "draining": 0})
        self.assertEqual((found["rooms"], found["dialogs"]), (1, 1))

    def test_it_is_not_ready_while_no_server_takes_rooms(self) -> None:
        self.assertEqual(self.operator.ask("GET", "/readyz").status, 200)
        self.cables["east"].break_()
        self.cables["west"].break_()
        reply = self.operator.ask("GET", "/readyz")
        self.assertEqual(reply.status, 503)
        self.assertEqual(
            reply.json["reasons"], ["no server takes new rooms: of 2, 0 are connected"]
        )


class RoomsTests(ManagedDispatcherTestCase):
    def test_rooms_with_their_servers(self) -> None:
        homes = {
            f"sip:r{n}@conf.example.com": self.home(self.join(f"c{n}", f"r{n}")) for n in range(9)
        }
        self.join("c9", "r1")
        found = self.operator.get(ROOMS)
        self.assertEqual({each["uri"]: each["server"] for each in found["rooms"]}, homes)
        self.assertEqual((found["total"], found["next"]), (9, None))
        (r1,) = self.operator.get(f"{ROOMS}?match=R1@")["rooms"]
        self.assertEqual((r1["dialogs"], r1["connected"]), (2, True))
        east = self.operator.get(f"{ROOMS}?server=east")["rooms"]
        self.assertEqual(len(east), list(homes.values()).count("east"))
        self.operator.refused(
            self.operator.ask("GET", f"{ROOMS}?server=south"), 404, "there is no server south"
        )

    def test_pages(self) -> None:
        for number in range(5):
            self.join(f"c{number}", f"r{number}")
        found: list[str] = []
        query = "limit=2"
        while query:
            page = self.operator.get(f"{ROOMS}?{query}")
            found += [each["uri"] for each in page["rooms"]]
            query = page["next"] and f"limit=2&after={page['next']}"
        self.assertEqual(found, [f"sip:r{number}@conf.example.com" for number in range(5)])

    def test_rooms_of_a_server_that_is_lost(self) -> None:
        home = self.home(self.join())
        self.cables[home].break_()
        (room,) = self.operator.get(ROOMS)["rooms"]
        self.assertEqual((room["server"], room["connected"]), (home, False))


class LinkMetricsTests(ManagedDispatcherTestCase):
    def test_of_a_dispatcher(self) -> None:
        home = self.home(self.join())
        peer = str(self.ends[home].address)
        self.assertEqual(self.value("link_up", peer=peer), 1)
        self.assertEqual(self.value("placed_rooms", peer=peer), 1)
        self.assertEqual(self.value("servers", state="connected"), 2)
        sent = {"direction": "sent", "outcome": "2xx"}
        self.assertEqual(self.value("link_requests_total", method="INVITE", **sent), 1)
        self.assertGreater(self.value("link_octets_in_total", peer=peer), 100)
        waiting = self.dispatcher.request(self.invite("call-2"))
        self.assertEqual(self.value("link_waiting", peer=peer), 1)
        self.cables[home].break_()
        self.failureResultOf(waiting)
        self.assertEqual(self.value("link_up", peer=peer), 0)
        lost = {"direction": "sent", "outcome": "lost"}
        self.assertEqual(self.value("link_requests_total", method="INVITE", **lost), 1)
        before = self.value("link_octets_in_total", peer=peer)
        self.connect(home)
        self.assertEqual(self.value("link_connects_total", peer=peer), 2)
        self.assertGreater(self.value("link_octets_in_total", peer=peer), before)

    def test_what_a_peer_makes_up_is_no_label(self) -> None:
        """Neither methods nor rooms, nor the names of servers that come and go."""

        def labels() -> set[object]:
            return set(samples(self.operator.ask("GET", "/metrics").body))

        def call(number: int) -> None:
            self.ask_server(f"M{number}", number)

        self.ask_server("M0", 0)
        self.cables["east"].break_()
        self.connect("east")
        before = labels()
        for number in range(20):
            call(number)
            self.join(f"c{number}", f"r{number}")
            self.cables["east"].break_()
            self.servers["east"] = Server(self.clock, f"east-{number}")
            self.connect("east")
        new = {each for each in labels() - before if "INVITE" not in str(each)}
        self.assertEqual({each for each in new if "M1" in str(each) or "east-" in str(each)}, set())
        self.assertNotIn(b"conf.example.com", self.operator.ask("GET", "/metrics").body)

    def ask_server(self, method: str, number: int) -> None:
        tag = self.join(f"x{number}", f"x{number}")
        self.answer(self.in_dialog(method, tag, f"x{number}"))


class ServerSideTests(DispatchTestCase):
    """A server counts its links to dispatchers, by the names that its configuration has."""

    def values(self) -> dict[str, float]:
        found = list(server_link_metrics(self.servers["east"].links))
        return {
            f"{each.name} {' '.join(each.labels.values())}".rstrip(): each.value
            for family in found
            for each in family.samples
        }

    def test_all_at_a_unix_socket_are_one(self) -> None:
        self.assertEqual(self.values()["msrpconf_link_up unix"], 1)
        self.start("east", name="focus-2")
        found = self.values()
        self.assertEqual(found["msrpconf_link_up unix"], 2)
        self.assertEqual(found["msrpconf_link_connects_total unix"], 2)
        self.assertEqual(found["msrpconf_link_requests_total sent HELLO 2xx"], 2)
        self.assertEqual(found["msrpconf_link_requests_total received HELLO 2xx"], 2)
        self.assertEqual(found["msrpconf_channel_waiting"], 0)

    def test_what_waits_for_a_dispatcher(self) -> None:
        tags = [self.join(f"c{number}", f"r{number}") for number in range(8)]
        for cable in self.all_cables:
            cable.break_()
        here = [tag for tag in tags if self.home(tag) == "east"]
        server = self.servers["east"]
        for participant in server.registry.participants():
            server.control.expel(participant, FAILED)
        self.assertEqual(self.values()["msrpconf_channel_waiting"], len(here))
        self.assertGreater(len(here), 0)
        self.assertEqual(self.values()["msrpconf_link_up unix"], 0)


class FocusApartTests(ApartTestCase):
    """A focus whose dispatcher is a process by itself, and that dispatcher."""

    def operator(self, router: Router) -> Operator:
        operator = Operator()
        operator.factory = ManagementFactory(router, self.clock)
        return operator

    def of_focus(self) -> Operator:
        parts = FocusParts(
            reactor=self.clock,
            dispatcher=self.focuses["f1"].end,
            focus=FocusService(self.clock, FocusSettings(), ()),
            listening=lambda: ["sip udp:192.0.2.1:5060"],
            started=lambda: True,
            reload=Deferred,
        )
        return self.operator(Router(Guard(None, True), focus_functions(parts, False), FOCUS))

    def of_dispatcher(self) -> Operator:
        parts = DispatcherParts(
            reactor=self.clock,
            dispatcher=self.dispatcher,
            focus=None,
            listening=list,
            started=lambda: True,
            reload=Deferred,
            focuses=self.side,
        )
        functions = dispatcher_functions(parts, False)
        return self.operator(Router(Guard(None, True), functions, DISPATCHER))

    def test_the_focus_says_whether_it_has_its_dispatcher(self) -> None:
        operator = self.of_focus()
        found = operator.get("/v1/status")
        self.assertEqual((found["focus"], found["ready"]), ("f1", True))
        self.assertEqual(found["dispatcher"]["name"], "dispatcher")
        self.focuses["f1"].end._client = object()  # type: ignore[assignment]  # it is wanted
        self.go("f1")
        reply = operator.ask("GET", "/readyz")
        self.assertEqual(reply.status, 503)
        (reason,) = reply.json["reasons"]
        self.assertIn("there is no link to the dispatcher at unix:/run/dispatcher: ", reason)
        found = samples(operator.ask("GET", "/metrics").body)
        self.assertEqual(found["msrpconf_link_up", (("peer", "unix:/run/dispatcher"),)], 0)
        operator.refused(operator.ask("GET", SERVERS), 404, "is a process by itself")
        operator.refused(operator.ask("GET", "/v1/rooms"), 404, "beside their server")

    def test_the_dispatcher_says_which_focuses_it_has(self) -> None:
        operator = self.of_dispatcher()
        self.come("f2")
        self.assertEqual(operator.get("/v1/status")["focuses"], ["f1", "f2"])
        found = samples(operator.ask("GET", "/metrics").body)
        self.assertEqual(found["msrpconf_link_up", (("peer", "unix"),)], 2)
        self.go("f1")
        self.go("f2")
        self.side.request(sip("BYE"))
        reply = operator.ask("GET", "/readyz")
        self.assertEqual(reply.json["reasons"], ["no focus is connected"])
        found = samples(operator.ask("GET", "/metrics").body)
        self.assertEqual(found["msrpconf_channel_waiting", ()], 1)
