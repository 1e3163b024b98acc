"""`twistd msrpconf`: focus and conference server in one process, as a configuration says.

`tap_focus`, `tap_server` and `tap_dispatcher` are the same for one of them apart.

What twistd does not do by itself: a mistake in the configuration, or a port that is taken, is a
clear line and exit status 1 before anything has started; being asked to end (SIGTERM, Ctrl-C) is
exit status 0, once everybody in a room has been told; in the foreground, the log is for people.
"""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from msrpconf import __version__, config_processes
from msrpconf.config import Config, ConfigError
from msrpconf.programs import program
from msrpconf.protocols.sip.flow import Address, format_endpoint
from msrpconf.protocols.sip.sockets import bound_socket
from msrpconf.services.apart import Apart, make_apart
from msrpconf.services.children import ParentWatch
from msrpconf.services.collecting import Collector
from msrpconf.services.compose import ConferenceService, make_service
from msrpconf.services.host import HostService
from msrpconf.services.management.parts import Reloaded, ReloadError
from msrpconf.services.presence_apart import PresenceApart
from msrpconf.services.supervisor import process_supervisor
from msrpconf.storage.errors import DatabaseError
from msrpconf.trace import Tracer, parse_trace
from msrpconf.visible import visible

Runnable = ConferenceService | Apart | PresenceApart | HostService

_OBSERVERS = {
    "text": "msrpconf.services.log.observer",
    "json": "msrpconf.services.log.json_observer",
}

_INPUT = 0

_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def _trace(text: str) -> frozenset[str]:
    """What --trace says."""
    return parse_trace(text)


def _log_format(text: str) -> str:
    """What --log-format says."""
    if text not in _OBSERVERS:
        raise ValueError(f"expected {' or '.join(_OBSERVERS)}, found {visible(text)}")
    return text


# twistd prints these with the error.
_log_format.coerceDoc = "One of text and json."  # type: ignore[attr-defined]
_trace.coerceDoc = "Both with a comma between, or one."  # type: ignore[attr-defined]


class Options(usage.Options):
    """The command line after `twistd msrpconf`."""

    synopsis = "[--config FILE] [--trace sip,msrp] [--log-format text|json]"
    longdesc = (
        "Chat rooms for SIP. Without a configuration the server is for this machine alone: "
        "SIP at 127.0.0.1:5060, MSRP at 127.0.0.1:2855, "
        "management at 127.0.0.1:8080."
    )
    optParameters = [
        ["config", "c", None, "The configuration, a TOML file."],
        ["trace", None, None, "Log what goes over the wires: sip,msrp", _trace],
        ["log-format", None, "text", "The log on standard output: text or json", _log_format],
    ]
    compData = usage.Completions(optActions={"config": usage.CompleteFiles("*.toml")})

    def opt_version(self) -> None:
        """Display the version and exit."""
        print(f"msrpconf {__version__}")
        raise SystemExit(0)

    def parseArgs(self, *arguments: str) -> None:
        """There are none; a file by itself is meant to be the configuration."""
        if arguments:
            text = " ".join(map(visible, arguments))
            raise usage.UsageError(f"not understood: {text}; a configuration is --config FILE")

    def postOptions(self) -> None:
        """Have our own log, where twistd runs in the foreground and no other is asked for."""
        twistd = self.parent
        if twistd is None:
            return
        others = twistd["logger"] or twistd["syslog"] or twistd["logfile"] not in (None, "-")
        if twistd["nodaemon"] and not others:
            twistd["logger"] = _OBSERVERS[self["log-format"]]
        elif self["log-format"] != "text":
            raise usage.UsageError(
                f"--log-format {self['log-format']} is for standard output: twistd --nodaemon,"
                " without --logfile, --syslog and --logger"
            )


def makeService(options: Options) -> Service:
    """The service for twistd. Ends the process with status 1 for what cannot be started."""
    return make_process(options)


def make_process(options: Options, *only: str) -> Service:
    """`makeService` for what is written of some components, or for all that are written."""
    try:
        config = Config.load(options["config"])
        if only:
            config = config.only(*only)
        number = options.get("process")
        if number is not None:
            sockets = options["sockets"]
            config = config.made(lambda found: config_processes.of_child(found, number, sockets))
        config.check()
    except ConfigError as error:
        raise SystemExit(_told(str(error).split("\n"))) from None
    taken = unusable_addresses(config)
    if taken:
        raise SystemExit(_told(f"cannot listen at {each}" for each in taken))
    reactor: Any = import_module("twisted.internet.reactor")
    tracer = Tracer(options["trace"]) if options["trace"] else None
    if "server" in config.components and config.server.processes > 1:
        twistd, more = _for_children(options, config_processes.names(config))
        host = HostService(config, reactor, tracer, twistd=twistd, options=more)
        return ServerProcess(reactor, host, Collector(reactor))
    if number is not None:
        # Standard input is a pipe that the parent holds.
        gone = partial(_without_parent, reactor, options["sockets"])
        reactor.callWhenRunning(ParentWatch, reactor, gone)
    return ServerProcess(reactor, _maker(config)(config, reactor, tracer), Collector(reactor))


def _without_parent(reactor: Any, sockets: str | None) -> None:
    """End, and leave no directory that the parent would have removed."""
    reactor.stop()
    if sockets is not None:
        reactor.addSystemEventTrigger("after", "shutdown", _remove_empty, sockets)


def _remove_empty(directory: str) -> None:
    with suppress(OSError):  # of several, the last one can
        os.rmdir(directory)


def _for_children(
    options: Options, children: Iterable[str]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The options of each child for twistd, by its name, and for the program: as ours are.

    Their output goes where ours does. Where that is a file, each has one of its own beside it.
    """
    more = ["--log-format", options["log-format"]]
    if options["trace"]:
        more += ["--trace", ",".join(sorted(options["trace"]))]
    twistd = options.parent
    if twistd is None or (twistd["nodaemon"] and twistd["logfile"] in (None, "-")):
        return {}, tuple(more)
    if twistd["syslog"]:
        return {name: ("--syslog", "--prefix", name) for name in children}, tuple(more)
    path = Path(twistd["logfile"] or "twistd.log").absolute()
    files = {name: path.with_name(f"{path.stem}-{name}{path.suffix}") for name in children}
    return {name: ("--logfile", str(file)) for name, file in files.items()}, tuple(more)


def _maker(config: Config) -> Callable[..., Runnable]:
    """What makes the service of a checked configuration."""
    if config.components == {"presence"}:
        return PresenceApart
    return make_service if {"focus", "server"} <= config.components else make_apart


def _told(errors: Iterable[str]) -> str:
    return "\n".join(f"msrpconf: {error}" for error in errors)


def unusable_addresses(config: Config) -> list[str]:
    """The addresses to listen at that cannot be had, each with the reason."""
    problems = []
    with ExitStack() as opened:
        for address in _listens(config):
            kind = socket.SOCK_DGRAM if address.transport == "udp" else socket.SOCK_STREAM
            try:
                opened.enter_context(bound_socket(kind, address.endpoint))
            except OSError as error:
                problems.append(f"{address}: {error.strerror or error}")
        problems += _unusable_management(config, opened)
    return problems + _unusable_sockets(config)


def _unusable_sockets(config: Config) -> list[str]:
    """The Unix sockets whose directory is not there."""
    wanted = {
        "[server] control": config.server.control if "server" in config.components else None,
        "[dispatcher] listen": config.dispatcher.listen,
        "[management] listen": (
            config.management.listen if "management" in config.components else None
        ),
    }
    return [
        f"unix:{address.path} of {key}: there is no directory {Path(address.path).parent}"
        for key, address in wanted.items()
        if address is not None
        and address.path is not None
        and not Path(address.path).parent.is_dir()
    ]


def _listens(config: Config) -> list[Address]:
    sip = config.sip.listen if {"focus", "presence"} & config.components else ()
    msrp = config.server.listen if "server" in config.components else ()
    xcap = config.xcap.listen if "xcap" in config.written else ()
    return [*sip, *msrp, *xcap]


def _unusable_management(config: Config, opened: ExitStack) -> list[str]:
    listen = config.management.listen
    if "management" not in config.components or listen.path is not None:
        return []
    try:
        opened.enter_context(bound_socket(socket.SOCK_STREAM, (listen.host, listen.port)))
    except OSError as error:
        way_out = 'write another address into [management] listen, such as "127.0.0.1:8081"'
        return [f"{listen} for the management interface: {error.strerror or error}; {way_out}"]
    return []


class ServerProcess(Service):
    """Runs a `ConferenceService`, or a part of one, as the one thing that the process is for.

    `collector` then decides when Python looks for garbage.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, conference: Runnable, collector: Collector | None = None
    ) -> None:
        self.conference = conference
        self._collector = collector
        self._reactor = reactor

    def startService(self) -> None:
        """Listen, and say where; without that there is nothing to run for."""
        Service.startService(self)
        # Not before: in the background, this is another process than the one that made us.
        self._supervisor = process_supervisor(self._reactor)
        self._reactor.addSystemEventTrigger("after", "startup", self._handle_signals)
        self.conference.startService().addCallbacks(self._started, self._failed)

    def stopService(self) -> Deferred[None]:
        """Tell everybody in a room, and end."""
        Service.stopService(self)
        self._supervisor.stopping()
        if self._collector is not None:
            self._collector.stop()
        return self.conference.stopService().addBoth(self._stopped)

    def _stopped(self, result: Any) -> Any:
        self._supervisor.stopped()
        return result

    def _started(self, _: None) -> None:
        # Who has read it may send a signal: not before there is somebody to take that.
        self._reactor.callWhenRunning(self._show_banner)
        if self._collector is not None:
            self._collector.start()

    def _show_banner(self) -> None:
        for line in banner(self.conference.config, self.conference.listening):
            self.log.info("{line}", line=line)
        self._tell_ready()

    def _tell_ready(self) -> None:
        self._supervisor.ready(f"listening: {', '.join(self.conference.listening)}")

    def _failed(self, failure: Failure) -> None:
        # What was free a moment ago is not now.
        self.log.critical("cannot start: {error}", error=failure.getErrorMessage())
        # twistd knows no other way to have the exit status say so.
        atexit.register(os._exit, 1)
        self._reactor.callWhenRunning(self._reactor.stop)

    def _handle_signals(self) -> None:
        """Twisted would have twistd die of the signal that it has handled, with that status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)
        terminal = os.isatty(_INPUT)
        signal.signal(
            signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hung_up, terminal)
        )

    def _hung_up(self, had_terminal: bool) -> None:
        """SIGHUP: somebody wants the configuration to be read, or has closed our terminal."""
        if had_terminal and not os.isatty(_INPUT):
            # Who started it there cannot see it any more, and would find its ports taken.
            self._stop("SIGHUP, and the terminal is gone")
        else:
            self._reload()

    def _reload(self) -> None:
        """SIGHUP: read the configuration again."""
        reload: Callable[[], Deferred[Reloaded]] | None = getattr(self.conference, "reload", None)
        if reload is None:
            self.log.warn("SIGHUP: this process reads its configuration at the start: restart it")
            return
        self._supervisor.reloading()
        reloading = reload().addCallbacks(self._reloaded, self._not_reloaded)
        # Also where nothing has changed: it goes on as before.
        reloading.addBoth(self._reload_is_over)

    def _reload_is_over(self, result: Any) -> Any:
        if self.running:
            self._tell_ready()
        return result

    def _reloaded(self, found: Reloaded) -> None:
        self.log.info(
            "SIGHUP: changed {changed}; waiting for a restart: {restart}",
            changed=", ".join(found.changed) or "nothing",
            restart=", ".join(found.restart) or "nothing",
        )

    def _not_reloaded(self, failure: Failure) -> None:
        failure.trap(ReloadError, DatabaseError)
        for line in failure.getErrorMessage().split("\n"):
            self.log.error("SIGHUP: nothing has changed: {why}", why=visible(line))

    def _signalled(self, number: int, _: object) -> None:
        # Whoever asks again does not want to wait.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._reactor.callFromThread(self._stop, signal.Signals(number).name)

    def _stop(self, name: str) -> None:
        self.log.info("{name}: everybody is told, then the server ends", name=name)
        self._reactor.stop()


def banner(config: Config, listening: list[str]) -> list[str]:
    """What to say at the start: what listens where, and how to join.

    `listening` is `ConferenceService.listening`.
    """
    found = {
        kind: [each.removeprefix(f"{kind} ") for each in listening if each.startswith(f"{kind} ")]
        for kind in ("sip", "msrp", "control", "dispatcher", "server", "management", "xcap")
    }
    names = {
        "sip": "SIP at",
        "msrp": "MSRP at",
        "control": "for dispatchers at",
        "dispatcher": "for focuses at",
        "server": "server processes",
    }
    where = (f"{name} {', '.join(found[kind])}" for kind, name in names.items() if found[kind])
    lines = [
        f"msrpconf {__version__}, configured by {config.source}",
        "; ".join(where),
        *(
            f"management at {each}: msrpconf status, msrpconf --help"
            for each in found["management"]
        ),
        *(f"XCAP root at {each}" for each in found["xcap"]),
    ]
    if config.components == {"presence"}:
        return [*lines, "focuses publish here what happens in rooms: [focus] presence names it"]
    if "focus" in config.components and config.focus.dispatcher is not None:
        lines.append(f"dispatcher at {config.focus.dispatcher}")
    elif "server" not in config.components:
        lines.append(f"servers at {', '.join(map(str, config.dispatcher.servers))}")
    if found["sip"]:
        way = _way_in(config, Address.parse(found["sip"][0]))
        command = shlex.join([program("msrpconf"), "chat", *way])
        lines.append(f"join with: {command}   or with any SIP client that has MSRP")
    return lines


def _way_in(config: Config, sip: Address) -> list[str]:
    """The arguments of `msrpconf chat` on this machine."""
    endpoint = format_endpoint((_LOCAL.get(sip.host, sip.host), sip.port))
    if "*" in config.sip.domains:
        transport = "" if sip.transport == "udp" else f";transport={sip.transport}"
        return [f"sip:lobby@{endpoint}{transport}", "--as", "alice"]
    proxy = f"{sip.transport}:{endpoint}"
    return [f"sip:lobby@{config.sip.domains[0]}", "--as", "alice", "--proxy", proxy]
