"""One host with all its cores: a parent, and server processes under it (`[server] processes`)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from msrpconf import config_processes
from msrpconf.config import Config
from msrpconf.services.apart import FocusApart
from msrpconf.services.children import Children, Command
from msrpconf.services.configured import Trace
from msrpconf.services.management.parts import Reloaded


class HostService(MultiService):
    """Focus and dispatcher, or neither, and the server processes beside them.

    `config` is checked, and has `[server] processes`; `options` are what each child's command line
    has besides, of twistd and of the program. As `ConferenceService` to whoever runs it.
    """

    name = "msrpconf-host"

    def __init__(
        self,
        config: Config,
        reactor: Any,
        trace: Trace | None = None,
        *,
        twistd: dict[str, tuple[str, ...]] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        MultiService.__init__(self)
        self.config = config
        self._sockets: str | None = None
        self.focus: FocusApart | None = None
        """Focus and dispatcher; None where these are elsewhere."""
        if "focus" in config.components:
            self._sockets = tempfile.mkdtemp(prefix="msrpconf-")
            parts = "focus", "dispatcher", "presence", "management"
            # So many are started: when the file is read again, there may be another number in it.
            sockets, count = self._sockets, config.server.processes
            parent = config.only(*parts).made(
                lambda found: config_processes.of_parent(found, sockets, count)
            )
            self.focus = FocusApart(parent, reactor, trace, more_tables=frozenset({"server"}))
        self.children = Children(
            reactor,
            [
                Command(name, self._arguments(number, (twistd or {}).get(name, ()), options))
                for number, name in enumerate(config_processes.names(config), 1)
            ],
        )

    def _arguments(
        self, number: int, twistd: tuple[str, ...], options: tuple[str, ...]
    ) -> tuple[str, ...]:
        config = str(Path(self.config.source).absolute())
        own = ["--config", config, "--process", str(number)]
        if self._sockets is not None:
            own += ["--sockets", self._sockets]
        return ("--nodaemon", "--pidfile=", *twistd, "msrpconf-server", *own, *options)

    @property
    def listening(self) -> list[str]:
        """What listens, as far as it is known here."""
        here = [] if self.focus is None else self.focus.listening
        return [*here, *(f"server {child.command.name}" for child in self.children.all)]

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[Any], Any, None]:
        """Start the servers, then the focus, which connects to them."""
        self.running = 1
        try:
            self.children.startService()
            if self.focus is not None:
                yield self.focus.startService()
        except Exception:
            yield self.stopService()
            raise

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """End the servers, which tell everybody by the focus, then the focus."""
        self.running = 0
        yield self.children.stopService()
        if self.focus is not None:
            yield self.focus.stopService()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def reload(self) -> Deferred[Reloaded]:
        """Read the configuration again, here and in the servers, whose logs say what changes."""
        self.children.reload()
        return succeed(Reloaded()) if self.focus is None else self.focus.reload()
