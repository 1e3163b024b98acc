"""What an operator decides about a server and its rooms."""

from __future__ import annotations

from attrs import field, frozen

from msrpconf.protocols.msrp.session import Limits


@frozen
class ServerSettings:
    """The settings of one msrp-conference-server.

    `name` is in every dialog tag that the server gives, so that the dialog's
    requests find it; `msrp_host` and `msrp_port` are what clients connect to.
    Times are in seconds.
    """

    name: str = "local"
    msrp_host: str = "127.0.0.1"
    msrp_port: int = 2855
    ack_timeout: float = 5.0
    """How long an answered INVITE may wait for its ACK."""
    msrp_timeout: float = 15.0
    """How long who has joined may be without an MSRP connection."""
    grace: float = 15.0
    """How long a broken MSRP connection may stay away."""
    ad_hoc: bool = True
    """Whether a room comes into being with its first participant."""
    plain_text: bool = True
    """Whether clients without message/cpim are served (design: RFC 7701 and the original)."""
    max_rooms: int = 10000
    max_participants: int = 1000
    """Participants of one room."""
    max_sessions: int = 100000
    """Participants of all rooms together."""
    limits: Limits = field(factory=Limits)
    """What one participant's MSRP session may take up."""

    def local_path(self, session_id: str) -> str:
        """The MSRP URI of a session here (RFC 4975 §6)."""
        host = f"[{self.msrp_host}]" if ":" in self.msrp_host else self.msrp_host
        return f"msrp://{host}:{self.msrp_port}/{session_id};tcp"
