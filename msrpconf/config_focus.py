"""`[focus]`: the user agent of the rooms."""

from __future__ import annotations

from attrs import frozen

from msrpconf import config_channel
from msrpconf import config_values as values
from msrpconf.config_key import key
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.sip.uri import SipURI


@frozen
class FocusConfig:
    """`[focus]`: the user agent of the rooms.

    - `ack_timeout`: seconds that an answered INVITE may wait for its ACK.
    - `outbound_proxy`: the proxy that invitations are sent by, None for the invitee's own host.
    - `presence`: the presence agent elsewhere that is told of the rooms, None for none.
    - `publish_expires`: seconds for which what it was told holds, unless it is told again.
    - `dispatcher`: where a dispatcher by itself listens, None for one in this process.
    - `name`: what this focus is called there, as its certificate says.
    """

    ack_timeout: float = key(5.0, values.seconds)
    outbound_proxy: SipURI | None = key(None, values.proxy)  # noqa: RUF009
    presence: SipURI | None = key(None, values.proxy)  # noqa: RUF009
    publish_expires: int = key(600, values.count)
    dispatcher: ChannelAddress | None = key(None, config_channel.address)  # noqa: RUF009
    name: str = key("focus", config_channel.peer_name)
