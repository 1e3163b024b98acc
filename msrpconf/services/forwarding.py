"""What users publish of rooms, brought from a presence agent by itself to a focus (RFC 3903).

    user --PUBLISH, a subject--> presence agent --PUBLISH--> focus --> the server that has the room
    user <--200, SIP-ETag------- presence agent <--200------ focus

The room has it then, its server publishes what it is like, and so the agent's watchers are told.
"""

from __future__ import annotations

from twisted.internet.defer import maybeDeferred
from twisted.python.failure import Failure

from msrpconf.conference.decision import Denied
from msrpconf.protocols.sip.message import Response
from msrpconf.protocols.sip.requests import RequestSender
from msrpconf.protocols.sip.transaction import ServerTransaction
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.services.user_agent import RETRY_AFTER, UserAgentServer

MAX_FORWARDS = 70

_HOP_HEADERS = (
    "Via",
    "Route",
    "Record-Route",
    "Max-Forwards",
    "Content-Length",
    "Authorization",
    "Proxy-Authorization",
)
_OURS = frozenset({"via", "from", "to", "call-id", "cseq", "content-length", "record-route"})


class Forwarding:
    """Sends requests that `user_agent` has let in on to `focus`, and what it answers back."""

    def __init__(self, user_agent: UserAgentServer, sender: RequestSender, focus: SipURI) -> None:
        self._user_agent = user_agent
        self._sender = sender
        self._focus = focus

    def request_received(self, transaction: ServerTransaction) -> None:
        """Have the focus serve a request."""
        request = transaction.request
        left = request.max_forwards
        if left == 0:
            self._user_agent.refuse(transaction, Denied(483, "Max-Forwards is used up"))
            return
        copy = request.copy()
        for name in _HOP_HEADERS:
            copy.headers.remove(name)
        copy.headers.add("Max-Forwards", str(MAX_FORWARDS if left is None else left - 1))
        asking = maybeDeferred(self._sender.send, copy, proxy=self._focus)
        asking.addCallbacks(
            self._answered, self._failed, callbackArgs=(transaction,), errbackArgs=(transaction,)
        )

    def _answered(self, answer: Response, transaction: ServerTransaction) -> None:
        request = transaction.request
        if answer.status >= 300:
            self._user_agent.log_refusal(request, answer.status, answer.reason)
        headers = [pair for pair in answer.headers if pair[0].lower() not in _OURS]
        tag = answer.to.tag or transaction.tag
        transaction.respond(
            request.response(
                answer.status, answer.reason, headers=headers, body=answer.body, to_tag=tag
            )
        )

    def _failed(self, failure: Failure, transaction: ServerTransaction) -> None:
        why = f"The focus cannot be asked: {failure.getErrorMessage()}"
        self._user_agent.refuse(transaction, Denied(503, why, (RETRY_AFTER,)))
