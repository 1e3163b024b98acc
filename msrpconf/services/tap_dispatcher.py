"""`twistd msrpconf-dispatcher`: a dispatcher by itself, for the focuses that connect to it."""

from __future__ import annotations

from twisted.application.service import Service

from msrpconf.services import tap


class Options(tap.Options):
    """The command line after `twistd msrpconf-dispatcher`."""

    longdesc = (
        "A dispatcher by itself: it knows which conference server has which room. Of the "
        "configuration it takes [dispatcher], where listen says where focuses connect, and servers "
        "where the conference servers are."
    )


def makeService(options: Options) -> Service:
    """The service for twistd. Ends the process with status 1 for what cannot be started."""
    return tap.make_process(options, "dispatcher", "management")
