"""A focus whose dispatcher is a process by itself: what can be asked of it, and its metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from msrpconf import __version__
from msrpconf.services.management import views
from msrpconf.services.management.common_api import CommonApi
from msrpconf.services.management.families import counters, gauge
from msrpconf.services.management.http import Answer
from msrpconf.services.management.link_metrics import Peer, link_metrics
from msrpconf.services.management.metrics import Metrics, sip_metrics
from msrpconf.services.management.operations import COMMON, Interface, Operation
from msrpconf.services.management.parts import FocusParts
from msrpconf.services.management.router import Asked, Function
from msrpconf.services.management.schemas import (
    FLAG,
    SCHEMAS,
    TIME,
    array,
    nullable,
    text,
    whole,
)

FOCUS = Interface(
    (*COMMON, Operation("status", "GET", "/v1/status", "The focus at a glance", "FocusStatus")),
    {
        **{name: SCHEMAS[name] for name in ("Problem", "Health", "Reloaded")},
        "FocusStatus": whole(
            version={"type": "string"},
            focus=text("[focus] name"),
            ready=FLAG,
            reasons=array(text("why it is not ready")),
            since=TIME,
            uptime={"type": "number", "description": "seconds"},
            listening=array(text("what listens where", examples=["sip udp:127.0.0.1:5060"])),
            dispatcher=whole(
                address=text("where it is wanted"),
                name=nullable(text("[dispatcher] name; null where none was ever connected")),
                connected=FLAG,
                since={**TIME, "description": "when the link came up, or was lost"},
                error=nullable(text("why there was no link the last time")),
            ),
        ),
    },
    "A focus, whose dispatcher is elsewhere: ask that one for servers and rooms.",
    (
        ("/v1/dispatcher/", "the dispatcher is a process by itself: ask beside that"),
        (
            "/v1/rooms",
            "rooms and who is in them are managed beside their server: the dispatcher, asked by"
            " msrpconf server rooms, says which that is",
        ),
        ("/v1/drain", "it is servers that are drained: ask beside the dispatcher"),
    ),
)


class FocusApi(CommonApi):
    """The operations on a focus; `secured` says whether a token is needed."""

    def __init__(self, parts: FocusParts, secured: bool) -> None:
        super().__init__(parts, Metrics(FocusCollector(parts)), FOCUS, secured)
        self._parts = parts

    def _reasons(self) -> list[str]:
        end = self._parts.dispatcher
        if end.current is not None:
            return super()._reasons()
        why = "" if end.error is None else f": {end.error}"
        return [*super()._reasons(), f"there is no link to the dispatcher at {end.address}{why}"]

    def status(self, asked: Asked) -> Answer:
        """The focus at a glance."""
        parts, reasons = self._parts, self._reasons()
        end = parts.dispatcher
        return Answer(
            {
                "version": __version__,
                "focus": end.own_name,
                "ready": not reasons,
                "reasons": reasons,
                "since": views.time(parts.since),
                "uptime": round(max(0.0, parts.reactor.seconds() - parts.since), 1),
                "listening": parts.listening(),
                "dispatcher": {
                    "address": str(end.address),
                    "name": end.name,
                    "connected": end.current is not None,
                    "since": views.time(end.since),
                    "error": end.error,
                },
            }
        )


class FocusCollector(Collector):
    """Reads the counters of a focus when Prometheus asks."""

    def __init__(self, parts: FocusParts) -> None:
        self._parts = parts

    def describe(self) -> Iterable[Metric]:
        """Nothing that would need collecting."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All there is, now."""
        parts, end = self._parts, self._parts.dispatcher
        build = InfoMetricFamily("msrpconf_build", "The program's version")
        build.add_metric((), {"version": __version__, "focus": end.own_name})
        yield build
        refused = sorted(parts.focus.focus.refusals.items())
        statuses = {str(status): count for status, count in refused}
        yield counters("refused", "SIP requests not served, by status", "status", statuses)
        yield from sip_metrics(parts.focus)
        links = [] if end.current is None else [end.current]
        yield from link_metrics([Peer(str(end.address), links, end.counters)])
        yield gauge("start_time_seconds", "When the process was started", parts.since)


def focus_functions(parts: FocusParts, secured: bool) -> Mapping[str, Function]:
    """All functions, by the ids of their operations."""
    api = FocusApi(parts, secured)
    return {each.id: getattr(api, each.id) for each in FOCUS.operations}
