"""Metrics for Prometheus, read from what the parts count: a scrape costs, a message does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from msrpconf import __version__
from msrpconf.conference.participant import State
from msrpconf.services.management.parts import Parts

_CLASSES = ("2xx", "3xx", "4xx", "5xx", "6xx", "other")


class Metrics:
    """The metrics of a server, and of the process that it is in."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, parts: Parts) -> None:
        # Our own: what else is in the process, such as another server, has its own too.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(ServerCollector(parts))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """In the format that Prometheus reads."""
        return generate_latest(self._registry)


class ServerCollector(Collector):
    """Reads a server's counters when Prometheus asks."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def describe(self) -> Iterable[Metric]:
        """Nothing that would need collecting."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All there is, now."""
        build = InfoMetricFamily("msrpconf_build", "The program's version")
        build.add_metric((), {"version": __version__, "server": self._parts.control.settings.name})
        yield build
        yield from self._rooms()
        yield from self._participants()
        yield from self._messages()
        yield from self._sip()
        yield from self._database()
        yield _gauge("start_time_seconds", "When the server was started", self._parts.since)

    def _rooms(self) -> Iterable[Metric]:
        registry = self._parts.registry
        occupied: Counter[str] = Counter()
        for room in registry.rooms.values():
            if room.participants:
                occupied["static" if room.static else "ad-hoc"] += 1
        present = {"static": registry.static_rooms, "ad-hoc": registry.ad_hoc_rooms}
        yield _gauges("rooms", "Rooms that are there", "kind", present)
        in_use = {kind: occupied[kind] for kind in present}
        yield _gauges("rooms_occupied", "Rooms in which somebody is", "kind", in_use)
        tally = registry.tally
        yield _counter("rooms_made", "Rooms that have come into being", tally.rooms_made)
        yield _counter("rooms_ended", "Rooms that have ended", tally.rooms_ended)
        yield _gauge("draining", "1 while nobody new is taken in", float(registry.draining))
        invitations = len(self._parts.control.referrals.inviter)
        yield _gauge("invitations", "Invitations that may come to something", invitations)
        store = self._parts.control.files.store
        yield _gauge("files_octets", "Octets of the rooms' files", store.octets)

    def _participants(self) -> Iterable[Metric]:
        registry = self._parts.registry
        states = {State.EXPECTED: 0, State.JOINED: 0}
        connected = congested = queued = timers = 0
        for each in registry.dialogs.values():
            states[each.state] = states.get(each.state, 0) + 1
            session = each.session
            connected += session.connection is not None
            congested += session.congested
            queued += session.queued
            timers += (each.timer is not None) + (each.congestion_timer is not None)
        by_state = {state.value: count for state, count in states.items()}
        yield _gauges("participants", "Devices in rooms, by state", "state", by_state)
        yield _gauge("participants_connected", "Of those, with an MSRP connection", connected)
        yield _gauge("sessions_congested", "Of those, not reading what they are sent", congested)
        yield _gauge("queued_octets", "Octets that wait to be sent to participants", queued)
        yield _gauge("participant_timers", "Timers that wait for participants", timers)
        tally = registry.tally
        yield _counter("joined", "Devices that have come into a room", tally.joined)
        left = {"left": tally.left, "cancelled": tally.cancelled}
        left["dropped"] = sum(tally.dropped.values())
        yield _counters("left", "Devices that have gone out of a room, by how", "how", left)
        dropped = _by_class(tally.dropped)
        yield _counters("dropped", "Devices sent out, by the status in Reason", "class", dropped)
        refused = Counter(tally.refused)
        focus = self._parts.focus
        if focus is not None:
            refused += focus.focus.refusals
        statuses = {str(status): count for status, count in sorted(refused.items())}
        yield _counters("refused", "SIP requests not served, by status", "status", statuses)

    def _messages(self) -> Iterable[Metric]:
        parts = self._parts
        totals = parts.registry.totals()
        yield _counter("messages", "Messages said to all", totals.messages)
        yield _counter("private_messages", "Messages said to one", totals.private_messages)
        yield _counter(
            "undelivered", "Copies that did not reach their recipients", totals.undelivered
        )
        traffic = parts.msrp.traffic
        yield _counter("msrp_octets_in", "Octets of MSRP received", traffic.octets_in)
        yield _counter("msrp_octets_out", "Octets of MSRP written", traffic.octets_out)
        yield _counter("deliveries", "Frames of messages written to clients", traffic.frames_out)
        yield _counter("msrp_refused", "MSRP requests not served", traffic.refused)
        yield _gauge("msrp_connections", "MSRP connections", len(parts.msrp.connections))
        yield _gauge("msrp_sessions", "MSRP sessions", len(parts.registry.sessions))

    def _sip(self) -> Iterable[Metric]:
        focus = self._parts.focus
        if focus is None:
            return
        layer, transport = focus.layer, focus.transport
        transactions = {"server": layer.server_transactions, "client": layer.client_transactions}
        yield _gauges("sip_transactions", "SIP transactions, by side", "side", transactions)
        counters = layer.counters
        kinds = {
            "new": counters.requests,
            "repeated": counters.repetitions,
            "merged": counters.merged,
            "overload": counters.overload,
        }
        yield _counters("sip_requests", "SIP requests received, by kind", "kind", kinds)
        answers = {"matched": counters.responses, "unmatched": counters.unmatched}
        yield _counters("sip_responses", "SIP responses received, by kind", "kind", answers)
        yield _counter("sip_malformed", "What came for SIP and is none", transport.malformed)
        yield _gauge("sip_connections", "SIP connections", transport.connections)

    def _database(self) -> Iterable[Metric]:
        static = self._parts.static_rooms
        if static is None:
            return
        up = float(static.away is None)
        yield _gauge("database_up", "1 while the database answers", up)
        yield _gauge("database_waiting", "Transactions under way", static.database.waiting)
        history = static.histories
        yield _gauge("history_waiting", "Messages that wait to be written", history.waiting)
        yield _counter("history_lost", "Messages that were not written", history.lost)


def _by_class(statuses: Mapping[int, int]) -> dict[str, int]:
    """Counts by the class of a status, as ``4xx``."""
    found = dict.fromkeys(_CLASSES, 0)
    for status, count in statuses.items():
        name = f"{status // 100}xx"
        found[name if name in found else "other"] += count
    return found


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"msrpconf_{name}", about, value)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"msrpconf_{name}", about, value)


def _gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"msrpconf_{name}", about, labels=(label,))
    for each, value in values.items():
        family.add_metric((each,), value)
    return family


def _counters(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"msrpconf_{name}", about, labels=(label,))
    for each, value in values.items():
        family.add_metric((each,), value)
    return family
