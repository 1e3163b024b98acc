"""`twistd msrpconf-focus`: a focus, mostly with its dispatcher, whose servers are elsewhere."""

from __future__ import annotations

from twisted.application.service import Service

from msrpconf.services import tap


class Options(tap.Options):
    """The command line after `twistd msrpconf-focus`."""

    longdesc = (
        "The SIP side by itself: a focus and its dispatcher. Of the configuration it takes "
        "[sip], [focus] and [dispatcher], where servers says where the conference servers are; or "
        "[focus] dispatcher says where the dispatcher is, a process by itself."
    )


def makeService(options: Options) -> Service:
    """The service for twistd. Ends the process with status 1 for what cannot be started."""
    return tap.make_process(options, "focus", "dispatcher", "presence", "management")
