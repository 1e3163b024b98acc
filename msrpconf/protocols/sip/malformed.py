"""What becomes of messages that cannot be read: an answer where one can be given, a log line."""

from __future__ import annotations

from twisted.logger import Logger

from msrpconf.protocols.line_budget import LineBudget
from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.identifiers import stateless_tag
from msrpconf.protocols.sip.message import Response, SipParseError

_log = Logger()


def answer_malformed(error: SipParseError) -> Response | None:
    """The response that the sender of a bad message is owed; None where none can be sent.

    Stateless (RFC 3261 section 8.2.7); the reason phrase says what is wrong.
    """
    if error.request is None:
        return None
    return error.request.response(error.status, error.reason, to_tag=stateless_tag(error.request))


def log_malformed(budget: LineBudget, error: SipParseError, flow: Flow) -> None:
    """One line: who sent it, which call, what was wrong, and what we said."""
    note = budget.take(flow.remote[0])
    if note is None:
        return
    request = error.request
    _log.warn(
        "bad SIP message from {source}, {answer}: {reason} (Call-ID {call_id}){note}",
        source=str(flow.peer),
        answer=f"answered {error.status}" if request is not None else "dropped",
        reason=error.reason,
        call_id=ascii(request.headers.get("Call-ID")) if request is not None else "unknown",
        note=note,
    )
