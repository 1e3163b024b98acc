"""What an operator decides about a server and its rooms."""

from __future__ import annotations

from attrs import field, frozen

from msrpconf.conference.roles import Role
from msrpconf.protocols.fingerprint import Fingerprint
from msrpconf.protocols.msrp.session import Limits

RESERVED_NICKNAMES = (
    "admin",
    "administrator",
    "moderator",
    "operator",
    "owner",
    "room",
    "server",
    "system",
)


@frozen
class RoomSettings:
    """The settings of one room: the defaults are those of ad-hoc rooms.

    Times are in seconds, sizes in octets.
    """

    plain_text: bool = True
    """Whether clients without message/cpim are served (design: RFC 7701 and the original)."""
    tls_only: bool = False
    """Whether only MSRP over TLS is served."""
    max_participants: int = 1000
    types: tuple[str, ...] = ("*",)
    """The media types that may be said, in lower case: ``text/plain``, ``image/*``, ``*``."""
    max_message_octets: int = 104857600
    """How long one message may be."""
    private_messages: bool = True
    """Whether one participant may speak to another alone (RFC 7701 §6.2)."""
    private_copies: bool = True
    """Whether the sender's other devices get a copy of a private message."""
    nicknames: bool = True
    """Whether participants may choose nicknames (RFC 7701 §7)."""
    reserved_nicknames: tuple[str, ...] = RESERVED_NICKNAMES
    """Nicknames that nobody gets, so that nobody speaks in the room's name."""
    quarantine: float = 300.0
    """How long the nickname of who has left is kept for them."""
    history_messages: int = 0
    """How many of the last messages who joins is sent; 0 keeps none."""
    history_age: float = 86400.0
    """How old such a message may be."""
    notices: bool = True
    """Whether the room says who comes and goes, and who takes which nickname."""
    notices_up_to: int = 50
    """In a room of more participants than this it does not."""
    rate: float = 20.0
    """Messages per second that one participant may send; 0 is any number."""
    burst: int = 100
    """Messages that may come at once before `rate` counts."""
    close_on_flood: bool = False
    """Whether who sends more is sent out; else the messages too many are refused with 403."""
    ad_hoc_owner: bool = True
    """Whether who makes an ad-hoc room by joining owns it; else nobody does."""
    may_invite: Role = Role.PARTICIPANT
    """What one must be at least to have others invited."""
    may_change_subject: Role = Role.MODERATOR
    """What one must be at least to change the subject."""
    may_see_others: Role = Role.VISITOR
    """What one must be at least to be told who is in the room."""
    host: str = ""
    """Who hosts the room, for watchers to read (RFC 4575 §5.4); empty for nobody."""
    host_page: str = ""
    """A web page about who hosts it, or about the service; empty for none."""
    files: bool = True
    """Whether files may be given to the room and fetched from it (RFC 5547)."""
    max_file_octets: int = 104857600
    """How large one file may be."""
    max_files: int = 100
    """How many files the room keeps; the oldest go first."""
    max_files_octets: int = 1073741824
    """How large all of them may be together; the oldest go first."""
    max_invitations: int = 100
    """How many one list may name, may be open at a time, and may be sent in a minute."""


@frozen
class ServerSettings:
    """The settings of one msrp-conference-server.

    `name` is in every dialog tag that the server gives, so that the dialog's
    requests find it; `msrp_host` and `msrp_port` are what clients connect to,
    `msrps_port` for TLS; a port is None where that is not served. `fingerprints` are
    those of the server's certificate. Times are in seconds.
    """

    name: str = "local"
    msrp_host: str = "127.0.0.1"
    msrp_port: int | None = 2855
    msrps_port: int | None = None
    fingerprints: tuple[Fingerprint, ...] = ()
    ack_timeout: float = 5.0
    """How long an answered INVITE may wait for its ACK."""
    msrp_timeout: float = 15.0
    """How long who has joined may be without an MSRP connection."""
    session_expires: float = 1800.0
    """How long a dialog is good that nobody refreshes (RFC 4028); 0 for ever, unless asked."""
    grace: float = 15.0
    """How long a broken MSRP connection may stay away."""
    ad_hoc: bool = True
    """Whether a room comes into being with its first participant."""
    max_rooms: int = 10000
    max_sessions: int = 100000
    """Participants of all rooms together."""
    files: str | None = None
    """The directory of the rooms' files; None for a temporary one."""
    spool_octets: int = 1073741824
    """Room on disk for what slow readers of long messages have not read yet; 0 is none."""
    max_files_octets: int = 10737418240
    """How large the files of all rooms may be together."""
    congested_timeout: float = 120.0
    """How long a participant may be congested before it is sent out (RFC 7701 §6.4)."""
    limits: Limits = field(factory=Limits)
    """What one participant's MSRP session may take up; a message's limit is the room's."""
    room: RoomSettings = field(factory=RoomSettings)
    """The settings of rooms that nobody has configured."""

    def serves(self, room: RoomSettings, secure: bool) -> bool:
        """Whether a room has sessions over TLS, or over plain TCP."""
        if secure:
            return self.msrps_port is not None
        return self.msrp_port is not None and not room.tls_only

    def local_path(self, session_id: str, secure: bool = False) -> str:
        """The MSRP URI of a session here (RFC 4975 §6), over TLS or not."""
        host = f"[{self.msrp_host}]" if ":" in self.msrp_host else self.msrp_host
        if secure:
            return f"msrps://{host}:{self.msrps_port}/{session_id};tcp"
        return f"msrp://{host}:{self.msrp_port}/{session_id};tcp"
