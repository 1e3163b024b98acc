"""Metrics of a dispatcher, for Prometheus: see `metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from msrpconf import __version__
from msrpconf.services.management.families import counter, counters, gauge, gauges
from msrpconf.services.management.link_metrics import Peer, link_metrics, peers_of
from msrpconf.services.management.metrics import sip_metrics
from msrpconf.services.management.parts import DispatcherParts
from msrpconf.services.servers_seen import STATES, seen


class DispatcherCollector(Collector):
    """Reads the counters of a process with a dispatcher when Prometheus asks."""

    def __init__(self, parts: DispatcherParts) -> None:
        self._parts = parts

    def describe(self) -> Iterable[Metric]:
        """Nothing that would need collecting."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All there is, now."""
        parts, dispatcher = self._parts, self._parts.dispatcher
        build = InfoMetricFamily("msrpconf_build", "The program's version")
        build.add_metric((), {"version": __version__, "dispatcher": dispatcher.own_name})
        yield build
        servers = list(seen(dispatcher))
        found = Counter(each.state for each in servers)
        states = {state: found[state] for state in STATES}
        yield gauges("servers", "Servers, by state of their links", "state", states)
        entries = [each.entry for each in servers if each.entry is not None]
        draining = sum(each.draining for each in entries)
        yield gauge("servers_draining", "Servers that take no new rooms", draining)
        yield counter("servers_given_up", "Servers that did not come back", dispatcher.given_up)
        rooms = {str(end.address): 0 for end in dispatcher.ends}
        dialogs = dict(rooms)
        for each in servers:
            if each.address is not None and each.entry is not None:
                rooms[each.address] = len(each.entry.rooms)
                dialogs[each.address] = len(each.entry.dialogs)
        yield gauges("placed_rooms", "Rooms that live, by server", "peer", rooms)
        yield gauges("placed_dialogs", "Calls in them, by server", "peer", dialogs)
        yield gauge("held_requests", "Requests that wait for servers to tell", dispatcher.held)
        if parts.focus is not None:
            refused = sorted(parts.focus.focus.refusals.items())
            statuses = {str(status): count for status, count in refused}
            yield counters("refused", "SIP requests not served, by status", "status", statuses)
        yield from sip_metrics(parts.focus)
        focuses = [] if parts.focuses is None else peers_of(parts.focuses)
        if parts.focuses is not None:
            yield gauge("channel_waiting", "Requests that wait for a focus", parts.focuses.waiting)
        servers_linked = [
            Peer(str(end.address), [] if end.current is None else [end.current], end.counters)
            for end in dispatcher.ends
        ]
        yield from link_metrics([*servers_linked, *focuses])
        yield gauge("start_time_seconds", "When the process was started", parts.since)
