"""The focus as a service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msrpconf.protocols.channel import Channel
from msrpconf.protocols.sip.flow import Address
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
        timers: Timers | None = None,
        **options: Any,
    ) -> None:
        self.focus = Focus(reactor, settings, timers)
        super().__init__(reactor, self.focus, listen, timers=timers, **options)
        self.focus.sender = RequestSender(reactor, self.layer, self.locate, self.transport.is_alive)

    def use_channel(self, channel: Channel) -> None:
        """Take `channel` as the way to the server."""
        self.focus.channel = channel
