"""Metrics for Prometheus, read from what the parts count: a scrape costs, a message does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from msrpconf import __version__
from msrpconf.conference.participant import State
from msrpconf.services.focus_service import FocusService
from msrpconf.services.management.families import counter, counters, gauge, gauges
from msrpconf.services.management.link_metrics import server_link_metrics
from msrpconf.services.management.parts import Parts
from msrpconf.services.presence import EVENTS

_CLASSES = ("2xx", "3xx", "4xx", "5xx", "6xx", "other")


class Metrics:
    """The metrics of what `collector` reads, and of the process that it is in."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, collector: Collector) -> None:
        # Our own: what else is in the process, such as another server, has its own too.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(collector)
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
        yield from sip_metrics(self._parts.focus)
        yield from self._watchers()
        yield from self._database()
        if self._parts.links is not None:
            yield from server_link_metrics(self._parts.links)
        yield gauge("start_time_seconds", "When the server was started", self._parts.since)

    def _rooms(self) -> Iterable[Metric]:
        registry = self._parts.registry
        occupied: Counter[str] = Counter()
        for room in registry.rooms.values():
            if room.participants:
                occupied["static" if room.static else "ad-hoc"] += 1
        present = {"static": registry.static_rooms, "ad-hoc": registry.ad_hoc_rooms}
        yield gauges("rooms", "Rooms that are there", "kind", present)
        in_use = {kind: occupied[kind] for kind in present}
        yield gauges("rooms_occupied", "Rooms in which somebody is", "kind", in_use)
        tally = registry.tally
        yield counter("rooms_made", "Rooms that have come into being", tally.rooms_made)
        yield counter("rooms_ended", "Rooms that have ended", tally.rooms_ended)
        yield gauge("draining", "1 while nobody new is taken in", float(registry.draining))
        invitations = len(self._parts.control.referrals.inviter)
        yield gauge("invitations", "Invitations that may come to something", invitations)
        store = self._parts.control.files.store
        yield gauge("files_octets", "Octets of the rooms' files", store.octets)

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
        yield gauges("participants", "Devices in rooms, by state", "state", by_state)
        yield gauge("participants_connected", "Of those, with an MSRP connection", connected)
        yield gauge("sessions_congested", "Of those, not reading what they are sent", congested)
        yield gauge("queued_octets", "Octets that wait to be sent to participants", queued)
        yield gauge("participant_timers", "Timers that wait for participants", timers)
        tally = registry.tally
        yield counter("joined", "Devices that have come into a room", tally.joined)
        left = {"left": tally.left, "cancelled": tally.cancelled}
        left["dropped"] = sum(tally.dropped.values())
        yield counters("left", "Devices that have gone out of a room, by how", "how", left)
        dropped = _by_class(tally.dropped)
        yield counters("dropped", "Devices sent out, by the status in Reason", "class", dropped)
        refused = Counter(tally.refused)
        focus = self._parts.focus
        if focus is not None:
            refused += focus.focus.refusals
        statuses = {str(status): count for status, count in sorted(refused.items())}
        yield counters("refused", "SIP requests not served, by status", "status", statuses)

    def _messages(self) -> Iterable[Metric]:
        parts = self._parts
        totals = parts.registry.totals()
        yield counter("messages", "Messages said to all", totals.messages)
        yield counter("private_messages", "Messages said to one", totals.private_messages)
        yield counter(
            "undelivered", "Copies that did not reach their recipients", totals.undelivered
        )
        traffic = parts.msrp.traffic
        yield counter("msrp_octets_in", "Octets of MSRP received", traffic.octets_in)
        yield counter("msrp_octets_out", "Octets of MSRP written", traffic.octets_out)
        yield counter("deliveries", "Frames of messages written to clients", traffic.frames_out)
        yield counter("msrp_refused", "MSRP requests not served", traffic.refused)
        yield gauge("msrp_connections", "MSRP connections", len(parts.msrp.connections))
        yield gauge("msrp_sessions", "MSRP sessions", len(parts.registry.sessions))

    def _watchers(self) -> Iterable[Metric]:
        presence = self._parts.presence
        if presence is None:
            return
        notifier = presence.notifier
        found = {**dict.fromkeys(EVENTS, 0), **notifier.by_package()}
        yield gauges("subscriptions", "Subscriptions, by event package", "package", found)
        waiting = len(presence.agent.watchers.waiting)
        yield gauge("watchers_waiting", "Who asked to watch and went undecided", waiting)
        yield counter("notifies", "NOTIFYs sent to watchers", notifier.notified)

    def _database(self) -> Iterable[Metric]:
        static = self._parts.static_rooms
        if static is None:
            return
        up = float(static.away is None)
        yield gauge("database_up", "1 while the database answers", up)
        yield gauge("database_waiting", "Transactions under way", static.database.waiting)
        history = static.histories
        yield gauge("history_waiting", "Messages that wait to be written", history.waiting)
        yield counter("history_lost", "Messages that were not written", history.lost)


def sip_metrics(focus: FocusService | None) -> Iterable[Metric]:
    """Of a focus, None for no metrics."""
    if focus is None:
        return
    layer, transport = focus.layer, focus.transport
    transactions = {"server": layer.server_transactions, "client": layer.client_transactions}
    yield gauges("sip_transactions", "SIP transactions, by side", "side", transactions)
    tally = layer.counters
    kinds = {
        "new": tally.requests,
        "repeated": tally.repetitions,
        "merged": tally.merged,
        "overload": tally.overload,
    }
    yield counters("sip_requests", "SIP requests received, by kind", "kind", kinds)
    answers = {"matched": tally.responses, "unmatched": tally.unmatched}
    yield counters("sip_responses", "SIP responses received, by kind", "kind", answers)
    yield counter("sip_malformed", "What came for SIP and is none", transport.malformed)
    yield gauge("sip_connections", "SIP connections", transport.connections)


def _by_class(statuses: Mapping[int, int]) -> dict[str, int]:
    """Counts by the class of a status, as ``4xx``."""
    found = dict.fromkeys(_CLASSES, 0)
    for status, count in statuses.items():
        name = f"{status // 100}xx"
        found[name if name in found else "other"] += count
    return found
