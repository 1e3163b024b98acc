"""`twistd msrpconf-presence`: a presence agent by itself, to which focuses publish their rooms."""

from __future__ import annotations

from twisted.application.service import Service

from msrpconf.services import tap


class Options(tap.Options):
    """The command line after `twistd msrpconf-presence`."""

    longdesc = (
        "A presence agent by itself: it tells watchers what focuses publish of their rooms, where "
        "[focus] presence names it. Of the configuration it takes [sip], [presence] and [database]."
    )


def makeService(options: Options) -> Service:
    """The service for twistd. Ends the process with status 1 for what cannot be started."""
    return tap.make_process(options, "presence")
