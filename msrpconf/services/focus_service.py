"""The focus as a service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msrpconf.protocols.channel import Channel
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.locate import locate
from msrpconf.protocols.sip.pool import Tracer
from msrpconf.protocols.sip.requests import RequestSender
from msrpconf.protocols.sip.timers import Timers
from msrpconf.services.endpoint import SipEndpoint
from msrpconf.services.focus import Focus
from msrpconf.services.focus_checks import FocusSettings


class FocusService(SipEndpoint):
    """Listens for SIP at `listen`, and serves the rooms of the server behind a channel.

    `use_channel` gives the way to the server, before the service starts. The rest is that of
    `SipEndpoint`.
    """

    name = "msrpconf-focus"

    def __init__(
        self,
        reactor: Any,
        settings: FocusSettings,
        listen: Sequence[Address],
        *,
        address: str | None = None,
        timers: Timers | None = None,
        max_transactions: int = 100000,
        trace: Tracer | None = None,
    ) -> None:
        self.focus = Focus(reactor, settings, timers)
        super().__init__(
            reactor,
            self.focus,
            listen,
            address=address,
            timers=timers,
            max_transactions=max_transactions,
            trace=trace,
        )
        self.focus.sender = RequestSender(
            self.layer,
            lambda uri: locate(reactor, uri, usable=self.transport.can_reach),
            self.transport.is_alive,
        )

    def use_channel(self, channel: Channel) -> None:
        """Take `channel` as the way to the server."""
        self.focus.channel = channel
