"""`twistd msrpconf-server`: a conference server apart, for the focuses that connect to it."""

from __future__ import annotations

from twisted.application.service import Service

from msrpconf.services import tap


class Options(tap.Options):
    """The command line after `twistd msrpconf-server`."""

    longdesc = (
        "A conference server by itself: it has the rooms and switches the messages. Of the "
        "configuration it takes [server], where control says where dispatchers connect."
    )
    optParameters = [
        *tap.Options.optParameters,
        ["process", None, None, "Run number so much of [server] processes: for their parent", int],
        ["sockets", None, None, "The directory of its sockets, where the parent has the focus"],
    ]


def makeService(options: Options) -> Service:
    """The service for twistd. Ends the process with status 1 for what cannot be started."""
    return tap.make_process(options, "server", "management")
