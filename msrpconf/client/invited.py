"""Being asked into a room: a REFER that comes outside of any dialog (RFC 4579 §5.2, RFC 3515).

    focus --REFER, Refer-To: the room--> us
    focus <--202------------------------ us
    focus <--NOTIFY 100 Trying---------- us      at once
    focus <--NOTIFY 200, 603, …--------- us      once the user has accepted, or declined

Anybody may send one, so there is a bound to how many wait for the user at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.client.call import JoinError
from msrpconf.client.message import Person
from msrpconf.conference.subscription import OwnDialog, ReferSubscription
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.refer import ReferTo, wants_no_subscription
from msrpconf.protocols.sip.transaction import ServerTransaction
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.protocols.sipfrag import Fragment

if TYPE_CHECKING:
    from msrpconf.client.agent import UserAgent
    from msrpconf.client.chat import Chat

MAX_OPEN = 20
"""Invitations that may wait for the user at a time."""

LIFETIME = 180.0
"""Seconds that the user has to accept one."""

MAX_TEXT = 200
"""Characters of a name or subject that are kept."""


class Invited:
    """An invitation to the room at the URI `room`.

    `by` is who asks, where that is said, and `subject` what the room is about. Whoever is at
    the other end says both, and it need not be true.
    """

    def __init__(
        self,
        invitations: Invitations,
        room: str,
        by: Person | None,
        subject: str | None,
        subscription: ReferSubscription | None,
    ) -> None:
        self.room = room
        self.by = by
        self.subject = subject
        self.open = True
        """Whether it can still be accepted or declined."""
        self._invitations = invitations
        self._subscription = subscription
        self._timer: IDelayedCall | None = None

    def accept(self, **listening: Any) -> Deferred[Chat]:
        """Join the room, `listening` as with `UserAgent.join`; fails as that does."""
        if not self.open:
            return fail(JoinError(487, "the invitation is not open any more"))
        self._close()
        joining = self._invitations.agent.join(self.room, **listening)

        def joined(chat: Chat) -> Chat:
            self._report(Fragment.of(200))
            return chat

        def failed(failure: Failure) -> Failure:
            error = failure.value
            if isinstance(error, JoinError):
                self._report(Fragment.of(error.status, error.reason))
            else:
                self._report(Fragment.of(487))
            return failure

        return joining.addCallbacks(joined, failed)

    def decline(self) -> None:
        """Say that one does not want to come."""
        self.end(Fragment.of(603, "Decline"))

    def begin(self, clock: Any) -> None:
        """Wait for the user from now on."""
        self._timer = clock.callLater(LIFETIME, self.end, Fragment.of(408, "No answer"))
        self._report(Fragment.of(100))

    def end(self, outcome: Fragment) -> None:
        """It will not come to a joining."""
        if self.open:
            self._close()
            self._report(outcome)

    def _close(self) -> None:
        self.open = False
        self._invitations.forget(self)
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _report(self, outcome: Fragment) -> None:
        if self._subscription is not None:
            self._subscription.report(outcome)


OnInvited = Callable[[Invited], None]


class Invitations:
    """The invitations of one user agent, which `UserAgent.on_invited` is told of."""

    log = Logger()

    def __init__(self, agent: UserAgent) -> None:
        self.agent = agent
        self._open: dict[Invited, None] = {}
        self._notifying: dict[ReferSubscription, Deferred[None]] = {}

    def referred(self, transaction: ServerTransaction, tell: OnInvited) -> None:
        """Answer a REFER outside of a dialog; `tell` the user of it."""
        request = transaction.request
        try:
            asked = ReferTo.of_request(request)
            silent = wants_no_subscription(request)
            by = _referrer(request)
            dialog = Dialog.from_request(request, transaction.tag)
        except SipSyntaxError as error:
            transaction.refuse(400, str(error))
            return
        if asked.method != "INVITE":
            transaction.refuse(403, "A user agent can be asked for INVITE, to join a room")
            return
        if not isinstance(asked.uri, SipURI) or not asked.uri.user:
            transaction.refuse(416, "A room's address is sip:room@domain")
            return
        if max(len(self._open), len(self._notifying)) >= MAX_OPEN:
            transaction.refuse(486, f"{MAX_OPEN} invitations wait for an answer here")
            return
        contact = self.agent.contact(transaction.flow)
        subscription = None if silent else self._subscription(dialog, transaction.flow, contact)
        headers = [("Contact", contact)]
        if silent:
            headers.append(("Refer-Sub", "false"))
        transaction.answer(202, headers=headers)
        invited = Invited(
            self, str(asked.uri), by, _text(request.headers.get("Subject")), subscription
        )
        self._open[invited] = None
        invited.begin(self.agent.clock)
        try:
            tell(invited)
        except Exception:
            self.log.failure("an invitation was not understood")
            invited.end(Fragment.of(480))

    def forget(self, invited: Invited) -> None:
        """An invitation is not open any more."""
        self._open.pop(invited, None)

    def close(self) -> Deferred[Any]:
        """Say of all that nothing comes of them; done when that is heard."""
        for invited in list(self._open):
            invited.end(Fragment.of(480, "The user has gone"))
        return DeferredList(list(self._notifying.values())) if self._notifying else succeed([])

    def _subscription(self, dialog: Dialog, flow: Flow, contact: str) -> ReferSubscription:
        def send(request: Request) -> Deferred[Response]:
            request.headers.set("Contact", contact)
            return self.agent.send_in_dialog(request, flow)

        def ended(subscription: ReferSubscription) -> None:
            self._notifying.pop(subscription).callback(None)

        subscription = ReferSubscription(
            send, OwnDialog(dialog, ""), "refer", SipURI.parse(self.agent.user), LIFETIME, ended
        )
        self._notifying[subscription] = Deferred()
        return subscription


def _referrer(request: Request) -> Person | None:
    for address in request.name_addrs("Referred-By"):
        return Person(str(address.uri)[:MAX_TEXT], _text(address.display_name))
    return None


def _text(text: str | None) -> str | None:
    return text[:MAX_TEXT] if text else None
