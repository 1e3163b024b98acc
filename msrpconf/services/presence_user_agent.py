"""The user agent of a presence agent by itself: it is no focus, and says so."""

from __future__ import annotations

from attrs import frozen

from msrpconf.conference.decision import Denied
from msrpconf.protocols.conference_info import CONFERENCE_INFO
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.message import METHODS as REGISTERED_METHODS
from msrpconf.protocols.sip.transaction import ServerTransaction
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.protocols.watcher_info import WATCHER_INFO
from msrpconf.services.focus_authentication import ASSERTED
from msrpconf.services.focus_checks import (
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    PRESENCE_METHODS,
    FocusSettings,
    check_extensions,
    conference_uri,
)
from msrpconf.services.user_agent import UserAgentServer


@frozen
class PresenceUserAgentSettings(FocusSettings):
    """What an operator decides about it; see `FocusSettings`."""

    @property
    def methods(self) -> tuple[str, ...]:
        """What is served here."""
        return (*PRESENCE_METHODS, "OPTIONS")

    @property
    def allow_events(self) -> tuple[str, str]:
        """The header field that names the event packages (RFC 6665 §8.2.2)."""
        return "Allow-Events", ", ".join(self.events)


class PresenceUserAgent(UserAgentServer):
    """Answers OPTIONS, hands SUBSCRIBE and PUBLISH over, and refuses what is a focus's."""

    def serve(self, transaction: ServerTransaction) -> None:
        """See `UserAgentServer`."""
        try:
            denied = self._serve(transaction)
        except SipSyntaxError as error:
            denied = Denied(400, str(error))
        if denied is not None:
            self.refuse(transaction, denied)

    def _serve(self, transaction: ServerTransaction) -> Denied | None:
        request, settings = transaction.request, self.settings
        method = request.method
        if method == "OPTIONS":
            room = conference_uri(request, settings)
            denied = room if isinstance(room, Denied) else check_extensions(request, settings)
            if denied is None and isinstance(room, SipURI):
                self._describe(transaction, room)
            return denied
        if method == "CANCEL":
            return Denied(481, "There is no such INVITE to cancel")
        if method not in REGISTERED_METHODS:
            return Denied(501, f"The method {method[:40]} is not known here", (settings.allow,))
        if request.to.tag is not None:
            why = f"There is no dialog for {method} here: rooms have their calls at their focus"
            return Denied(481, why)
        why = f"{method} is not served by this presence agent: send it to the focus of the room"
        return Denied(405, why, (settings.allow,))

    def _describe(self, transaction: ServerTransaction, room: SipURI) -> None:
        settings = self.settings
        headers = (
            settings.allow,
            settings.allow_events,
            ("Accept", f"{CONFERENCE_INFO}, {WATCHER_INFO}"),
            ACCEPT_ENCODING,
            ACCEPT_LANGUAGE,
            ("Contact", self.contact(transaction, room)),
        )
        transaction.answer(200, headers=headers)


def is_from_focus(transaction: ServerTransaction) -> bool:
    """Whether a PUBLISH is a focus's own, about a room, and no user's.

    It comes straight from a host that is believed, in the room's name. What a proxy has carried
    here is a user's, whoever that claims to be: a proxy adds a Via.
    """
    request = transaction.request
    if len(request.vias) != 1 or ASSERTED in request.headers:
        return False
    return request.from_.uri.key == request.uri.key
