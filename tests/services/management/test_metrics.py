"""What Prometheus reads, and what Grafana makes of it."""

from __future__ import annotations

import json
import re

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.config import Config
from msrpconf.protocols.msrp.connection import MsrpFactory
from msrpconf.protocols.sip.headers import Reason
from msrpconf.services.compose import make_service
from msrpconf.services.management.metrics import Metrics, ServerCollector
from msrpconf.services.management.parts import Parts
from tests.conference.support import cpim
from tests.processes import ROOT
from tests.services.management.support import PATH, ManagementTestCase

DASHBOARD = ROOT / "examples" / "grafana" / "msrpconf.json"

Sample = tuple[str, tuple[tuple[str, str], ...]]


def samples(octets: bytes) -> dict[Sample, float]:
    """The values by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(octets.decode())
        for sample in family.samples
    }


class MetricsTests(ManagementTestCase):
    def value(self, name: str, **labels: str) -> float:
        """One value of now."""
        reply = self.ask("GET", "/metrics")
        self.assertEqual(reply.status, 200)
        self.assertTrue(reply.headers["content-type"].startswith("text/plain"))
        return samples(reply.body)[f"msrpconf_{name}", tuple(sorted(labels.items()))]

    def test_rooms_and_people(self) -> None:
        self.joined("alice")
        self.joined("bob")
        self.client("carol").invite()
        self.assertEqual(self.value("rooms", kind="ad-hoc"), 1)
        self.assertEqual(self.value("rooms_occupied", kind="ad-hoc"), 1)
        self.assertEqual(self.value("rooms", kind="static"), 0)
        self.assertEqual(self.value("participants", state="joined"), 2)
        self.assertEqual(self.value("participants", state="expected"), 1)
        self.assertEqual(self.value("participants_connected"), 2)
        self.assertEqual(self.value("participant_timers"), 1)
        self.assertEqual(self.value("joined_total"), 2)

    def test_counters_outlive_their_rooms(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        alice.say(cpim("one"))
        self.room.private_messages += 1
        before = self.value("messages_total"), self.value("private_messages_total")
        self.assertEqual(before, (1, 1))
        alice.send("BYE")
        self.control.expel(bob.participant, Reason("SIP", 480, "x"))
        self.assertNobodyIsLeft()
        after = self.value("messages_total"), self.value("private_messages_total")
        self.assertEqual(after, before)
        self.assertEqual(self.value("rooms_made_total"), 1)
        self.assertEqual(self.value("rooms_ended_total"), 1)
        self.assertEqual(self.value("left_total", how="left"), 1)
        self.assertEqual(self.value("left_total", how="dropped"), 1)
        self.assertEqual(self.value("dropped_total", **{"class": "4xx"}), 1)

    def test_refusals(self) -> None:
        self.configure(ad_hoc=False)
        self.client("alice").invite()
        self.client("bob").invite()
        self.client("carol").send("BYE")
        self.assertEqual(self.value("refused_total", status="404"), 2)
        self.assertEqual(self.value("refused_total", status="481"), 1)

    def test_draining(self) -> None:
        self.assertEqual(self.value("draining"), 0)
        self.ask("PUT", "/v1/drain")
        self.assertEqual(self.value("draining"), 1)

    def test_congestion_and_queues(self) -> None:
        alice = self.joined("alice")
        alice.session.queued = 7
        alice.session.congested = True
        self.assertEqual((self.value("queued_octets"), self.value("sessions_congested")), (7, 1))

    def test_a_name_of_a_room_is_no_label(self) -> None:
        """What anybody can make up must not grow what Prometheus keeps."""
        before = len(samples(self.ask("GET", "/metrics").body))
        for number in range(20):
            self.joined(f"u{number}", room=f"sip:r{number}@conf.example.com")
        self.assertEqual(len(samples(self.ask("GET", "/metrics").body)), before)
        self.assertNotIn(b"conf.example.com", self.ask("GET", "/metrics").body)
        self.assertEqual(self.ask("GET", f"{PATH}").status, 404)


class TrafficTests(SynchronousTestCase):
    def test_octets_and_frames_of_all_connections(self) -> None:
        factory = MsrpFactory({}, Clock())
        for _ in range(2):
            connection = factory.buildProtocol(None)
            assert connection is not None
            transport = StringTransport()
            connection.makeConnection(transport)
            request = (
                b"MSRP a1b2c3d4 SEND\r\nTo-Path: msrp://x:1/nobody;tcp\r\n"
                b"From-Path: msrp://y:1/s;tcp\r\nMessage-ID: 1\r\n-------a1b2c3d4$\r\n"
            )
            connection.dataReceived(request)
            connection.flush()
        traffic = factory.traffic
        self.assertEqual(traffic.octets_in, 2 * len(request))
        self.assertEqual(traffic.octets_out, 2 * len(transport.value()))
        self.assertEqual((traffic.frames_out, traffic.refused), (0, 2))


class DashboardTests(SynchronousTestCase):
    def test_every_metric_in_it_exists(self) -> None:
        clock = Clock()
        config = Config.parse('[database]\nurl = "sqlite://"\n[focus]\n[server]', "the test")
        service = make_service(config, clock)
        parts = Parts(
            clock,
            service.server.control,
            service.server.factory,
            service.focus,
            service.static_rooms,
            list,
            bool,
            Deferred,
        )
        names = {
            sample.name
            for family in text_string_to_metric_families(
                Metrics(ServerCollector(parts)).text().decode()
            )
            for sample in family.samples
        }
        dashboard = json.loads(DASHBOARD.read_text("utf-8"))
        text = json.dumps(dashboard)
        used = set(re.findall(r"\b(?:msrpconf|process)_\w+", text))
        # Counts of refusals come with the first of them.
        self.assertEqual(used - names - {"msrpconf_refused_total"}, set())
        self.assertGreater(len(used), 25)
        self.assertEqual(
            len({each["id"] for each in dashboard["panels"]}), len(dashboard["panels"])
        )
