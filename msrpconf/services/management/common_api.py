"""What every process that is managed answers: what there is, health, metrics, reload."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf import __version__
from msrpconf.services.management.http import Answer
from msrpconf.services.management.metrics import Metrics
from msrpconf.services.management.openapi import describe
from msrpconf.services.management.operations import Interface
from msrpconf.services.management.parts import AnyParts
from msrpconf.services.management.router import Asked


class CommonApi:
    """The operations on a process; `secured` says whether a token is needed."""

    links: tuple[str, ...] = ()
    """What there is besides."""

    def __init__(
        self, parts: AnyParts, metrics: Metrics, interface: Interface, secured: bool
    ) -> None:
        self._process = parts
        self._metrics = metrics
        self._description = describe(secured, interface)

    def index(self, asked: Asked) -> Answer:
        """What there is."""
        links = ("/v1/status", *self.links, "/metrics", "/healthz", "/readyz", "/openapi.json")
        return Answer({"name": "msrpconf", "version": __version__, "links": list(links)})

    def openapi(self, asked: Asked) -> Answer:
        """The description."""
        return Answer(self._description)

    def metrics(self, asked: Asked) -> Answer:
        """Prometheus's text."""
        return Answer(content=self._metrics.text(), content_type=self._metrics.content_type)

    def healthz(self, asked: Asked) -> Answer:
        """That we answer is all there is to say."""
        return Answer({"status": "ok", "reasons": []})

    def readyz(self, asked: Asked) -> Answer:
        """Whether people are taken in."""
        reasons = self._reasons()
        status = "not ready" if reasons else "ok"
        return Answer({"status": status, "reasons": reasons}, 503 if reasons else 200)

    def _reasons(self) -> list[str]:
        """Why nobody new is taken in; empty where they are."""
        if self._process.started():
            return []
        return ["not everything listens yet, or the server is stopping"]

    @inlineCallbacks
    def reload(self, asked: Asked) -> Generator[Deferred[Any], Any, Answer]:
        """Read the configuration and the static rooms again."""
        done = yield self._process.reload()
        return Answer(
            {
                "changed": list(done.changed),
                "restart": list(done.restart),
                "static_rooms": done.static_rooms,
            }
        )
