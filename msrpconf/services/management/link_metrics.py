"""Metrics of the channel's links; the labels are what a configuration has, not what peers say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import frozen
from prometheus_client.core import CounterMetricFamily, Metric

from msrpconf.protocols.channel_counters import LinkCounters
from msrpconf.protocols.channel_link import Link
from msrpconf.services.dispatchers import DispatcherLinks
from msrpconf.services.link_server import LinkServer
from msrpconf.services.management.families import counters, gauge, gauges


@frozen
class Peer:
    """One end of links: `label` names it, `links` are those that are up."""

    label: str
    links: Sequence[Link]
    counters: LinkCounters


def link_metrics(peers: Sequence[Peer]) -> Iterable[Metric]:
    """Of all links of a process."""
    yield gauges("link_up", "Links that are up, by peer", "peer", _each(peers, len))
    yield gauges(
        "link_waiting",
        "Requests to a peer that have no answer yet",
        "peer",
        _each(peers, lambda links: sum(each.waiting for each in links)),
    )
    yield gauges(
        "link_handling",
        "Requests of a peer that have no answer yet",
        "peer",
        _each(peers, lambda links: sum(each.handling for each in links)),
    )
    yield gauges(
        "link_queued_octets",
        "Octets that wait because a peer does not read",
        "peer",
        _each(peers, lambda links: sum(each.queued for each in links)),
    )
    for name, about, attribute in (
        ("link_connects", "Links to a peer that have come up", "connects"),
        ("link_octets_in", "Octets received from a peer", "octets_in"),
        ("link_octets_out", "Octets written to a peer", "octets_out"),
    ):
        values = {each.label: float(getattr(each.counters, attribute)) for each in peers}
        yield counters(name, about, "peer", values)
    requests: Counter[tuple[str, str, str]] = Counter()
    for each in peers:
        requests += each.counters.requests
    family = CounterMetricFamily(
        "msrpconf_link_requests",
        "Requests over links, by direction, method and what came of them",
        labels=("direction", "method", "outcome"),
    )
    for labels, count in sorted(requests.items()):
        family.add_metric(labels, count)
    yield family


def _each(peers: Sequence[Peer], count: object) -> dict[str, float]:
    assert callable(count)
    return {each.label: float(count(each.links)) for each in peers}


def peers_of(links: LinkServer) -> list[Peer]:
    """Those who connect to us."""
    up = list(links.links.values())
    return [
        Peer(label, [each for each in up if links.label(each) == label], counted)
        for label, counted in links.counters.items()
    ]


def server_link_metrics(links: DispatcherLinks) -> Iterable[Metric]:
    """Of a server apart, to its dispatchers."""
    yield from link_metrics(peers_of(links))
    yield gauge("channel_waiting", "Requests that wait for a dispatcher", links.waiting)
