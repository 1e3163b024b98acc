"""A user agent server (RFC 3261 §8.2): who may come, what is refused, and what is said of that.

What is the same for a focus and for a presence agent by itself. It knows transactions, and
neither rooms nor subscriptions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.protocols.line_budget import LineBudget
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import Address, Flow, default_port
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.transaction import ServerTransaction
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.services.focus_authentication import Authentication
from msrpconf.services.focus_checks import PRESENCE_METHODS, FocusSettings, check_source
from msrpconf.services.focus_contact import room_at
from msrpconf.services.sips import as_sips, check_sips, wants_sips
from msrpconf.visible import visible

RETRY_AFTER = ("Retry-After", "10")


class UserAgentServer:
    """Takes requests from one transaction layer, which calls the methods that are named after it.

    `local_address` gives the address at which the peer of a flow reaches us, and
    `address_towards` that at which who is at some address does; both are set before the first
    request. `settings.contact` says which URI our Contact has: ``conference`` is the room's own,
    ``address`` is our address with the room's name, and ``auto`` the former where a proxy stays
    in the path (Record-Route) and the latter where nobody else would find us.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, settings: FocusSettings) -> None:
        self.settings = settings
        self.local_address: Callable[[Flow], Address]
        self.address_towards: Callable[[Address], Address]
        self.listening: Sequence[Address] = ()
        """Where we listen."""
        self.identities: Callable[[Flow], frozenset[str]] = lambda flow: frozenset()
        """Gives the SIP domains that the peer of a flow has proved to be by TLS (RFC 5922)."""
        self.presence_agent: Callable[[ServerTransaction], None] | None = None
        """Serves SUBSCRIBE and PUBLISH, where there is a presence agent."""
        self.authentication: Authentication | None = None
        """Asks who comes without a proxy for a password; None where nobody may come so."""
        self.closing = False
        self.refusals: Counter[int] = Counter()
        """Requests that were not served here, by the status of the answer."""
        self._budget = LineBudget(clock)

    # From the transaction layer.

    def request_received(self, transaction: ServerTransaction) -> None:
        """Serve a request that is not an ACK, once it is settled who sends it."""
        host = transaction.flow.remote[0]
        denied = check_source(host, self.settings, self.identities(transaction.flow))
        if denied is None:
            self._admit(transaction)
        elif self.authentication is None:
            self._turn_away(transaction, denied)
        else:
            checking = self.authentication.check(transaction.request, host)
            checking.addCallback(self._checked, transaction)
            checking.addErrback(self.failed, transaction)

    def ack_received(self, request: Request, flow: Flow) -> None:
        """Serve the ACK for a 2xx to an INVITE."""

    def refused(self, status: int, reason: str, request: Request, flow: Flow) -> None:
        """Note what the layer refused by itself. A flood of it does not flood the log."""
        self.log_refusal(request, status, reason, flow.remote[0])

    def stop(self) -> None:
        """Forget everything; nothing is sent any more."""

    # What is made of it.

    def serve(self, transaction: ServerTransaction) -> None:
        """Serve a request of somebody who may come, and that is not for the presence agent."""
        raise NotImplementedError

    def failed(self, failure: Failure, transaction: ServerTransaction) -> None:
        """What was asked about a request could not be answered."""
        self.log.failure("a request cannot be served", failure)
        if not transaction.answered:
            self.refuse(transaction, Denied(503, "Try again later", (RETRY_AFTER,)))

    def target(self, transaction: ServerTransaction, room: SipURI | None) -> str:
        """The URI for our Contact in the answer to a request for a room."""
        request, flow = transaction.request, transaction.flow
        form = self.settings.contact
        if room is None or request.to.tag is not None:
            return str(request.uri)  # in a dialog: what the client reaches us by already
        sips = wants_sips(request, flow)
        if form == "conference" or (form == "auto" and "Record-Route" in request.headers):
            return str(as_sips(room) if sips else room)
        return str(room_at(room, self.local_address(flow), sips=sips))

    def contact(self, transaction: ServerTransaction, room: SipURI | None) -> str:
        """Our Contact in the answer to a request for a room."""
        return f"<{self.target(transaction, room)}>"

    def _checked(self, denied: Denied | None, transaction: ServerTransaction) -> None:
        """Who comes without a proxy has said a password, or has not."""
        if transaction.answered:
            return  # cancelled meanwhile
        if denied is None:
            self._admit(transaction)
        elif denied.status == 401:
            # That is a question, and no refusal; what is wrong with an answer is logged there.
            self.refusals[401] += 1
            transaction.refuse(denied.status, denied.reason, headers=denied.headers)
        else:
            self._turn_away(transaction, denied)

    def _admit(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        begins = request.to.tag is None and request.method != "CANCEL"
        denied = check_sips(request, transaction.flow) if begins else None
        if denied is not None:
            self.refuse(transaction, denied)
        elif self.presence_agent is not None and request.method in PRESENCE_METHODS:
            self.presence_agent(transaction)
        else:
            self.serve(transaction)

    # Refusals.

    def refuse(self, transaction: ServerTransaction, denied: Denied) -> None:
        """Answer with a refusal, and say so in the log."""
        transaction.answer(denied.status, denied.reason, headers=denied.headers)
        self.log_refusal(transaction.request, denied.status, denied.reason)

    def _turn_away(self, transaction: ServerTransaction, denied: Denied) -> None:
        """Refuse a stranger: that costs neither memory nor more than a few lines of the log."""
        transaction.refuse(denied.status, denied.reason, headers=denied.headers)
        self.log_refusal(
            transaction.request, denied.status, denied.reason, transaction.flow.remote[0]
        )

    def log_refusal(
        self, request: Request, status: int, reason: str, stranger: str | None = None
    ) -> None:
        """One line for each refusal; of those to a `stranger`, a host, only so many."""
        self.refusals[status] += 1
        note = "" if stranger is None else self._budget.take(stranger)
        if note is None:
            return
        self.log.info(
            "refused: {method} of {user} to {uri}: {status} {reason} (Call-ID {call_id}){note}",
            method=request.method,
            user=_who(request) if stranger is None else request.from_.uri,
            uri=request.uri,
            status=status,
            reason=visible(reason),
            call_id=visible(request.call_id),
            note=note,
        )


def is_direct(transaction: ServerTransaction) -> bool:
    """Whether what we send later goes back the same way, which may be the only one.

    That is so for a request straight from its client (RFC 5626 §3.3), over UDP only
    if the client takes its responses where it sends from. Behind a proxy the Route set
    says where to go.
    """
    vias, flow = transaction.request.vias, transaction.flow
    if len(vias) != 1:
        return False
    if flow.reliable or vias[0].rport is not None:
        return True
    return (vias[0].port or default_port(flow.transport)) == flow.remote[1]


def _who(request: Request) -> str:
    """The sender of a request as our log names it, whatever is wrong with the request."""
    try:
        return Identity.of_request(request).key
    except SipSyntaxError:
        return str(request.from_.uri)
