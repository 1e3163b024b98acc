"""The plugins that give `twistd` the services of msrpconf."""

from twisted.application.service import ServiceMaker

msrpconf = ServiceMaker(
    "msrpconf",
    "msrpconf.services.tap",
    "Chat rooms for SIP: focus and conference server in one process",
    "msrpconf",
)
