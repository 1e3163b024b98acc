"""What a new agreement means for the MSRP connection that a participant has, or will have."""

from __future__ import annotations

from twisted.logger import Logger

from msrpconf.conference.negotiation import Agreement
from msrpconf.conference.participant import Participant
from msrpconf.conference.settings import ServerSettings
from msrpconf.protocols.msrp.connection import session_id
from msrpconf.protocols.msrp.destination import Destination
from msrpconf.protocols.msrp.session import Session

NOT_THE_PEER = "The TLS certificate of the MSRP connection does not match a=fingerprint"

log = Logger()


def settle(participant: Participant, agreement: Agreement, settings: ServerSettings) -> None:
    """Have a participant's session be as agreed.

    A connection that is not to the peer of the agreement is let go of: that of an earlier path
    (RFC 4975 §8.4), that of a certificate which is not the peer's (RFC 8122 §6.2), and one with
    TLS where there is to be none, or without.
    """
    session = participant.session
    connection = session.connection
    switched = session.secure != agreement.secure
    moved = session.remote_path not in {b"", agreement.remote_path}
    if switched or moved:
        _let_go(participant)
    elif connection is not None and not agreement.trusts(connection):
        log.info(
            "letting go of {user}'s MSRP connection: {why} (Call-ID {call_id})",
            user=participant,
            why=NOT_THE_PEER,
            call_id=participant.dialog.call_id,
        )
        _let_go(participant)
    if switched:
        own = session_id(session.local_path).decode("ascii")
        session.local_path = settings.local_path(own, agreement.secure).encode("ascii")
    session.remote_path = agreement.remote_path
    participant.agreement = agreement
    participant.room.update_audience(participant)
    participant.room.info.changed(participant)


def _let_go(participant: Participant) -> None:
    participant.session.release()
    # What was not read is gone with the connection.
    participant.stop_congestion_timer()


def awaits(session: Session, destination: Destination) -> bool:
    """Whether a session still needs the connection that it was to have, and to there.

    Its client may have left meanwhile, have come by itself, or have moved.
    """
    participant = session.handler
    return (
        isinstance(participant, Participant)
        and not session.closed
        and session.connection is None
        and participant.agreement is not None
        and participant.agreement.connect_to == destination
    )
