"""The plugins that give `twistd` the services of msrpconf."""

from twisted.application.service import ServiceMaker

msrpconf = ServiceMaker(
    "msrpconf",
    "msrpconf.services.tap",
    "Chat rooms for SIP: focus and conference server in one process",
    "msrpconf",
)

msrpconf_server = ServiceMaker(
    "msrpconf-server",
    "msrpconf.services.tap_server",
    "Chat rooms for SIP: a conference server apart",
    "msrpconf-server",
)

msrpconf_presence = ServiceMaker(
    "msrpconf-presence",
    "msrpconf.services.tap_presence",
    "Chat rooms for SIP: a presence agent apart, which tells who is in which room",
    "msrpconf-presence",
)

msrpconf_focus = ServiceMaker(
    "msrpconf-focus",
    "msrpconf.services.tap_focus",
    "Chat rooms for SIP: a focus and its dispatcher, with servers elsewhere",
    "msrpconf-focus",
)

msrpconf_dispatcher = ServiceMaker(
    "msrpconf-dispatcher",
    "msrpconf.services.tap_dispatcher",
    "Chat rooms for SIP: a dispatcher apart, between focuses and servers",
    "msrpconf-dispatcher",
)
