"""Telling participants that they are out: a BYE in their dialog (RFC 3261 §15, RFC 3326)."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.leg import Leg
from msrpconf.protocols.channel import Channel
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Response
from msrpconf.visible import visible

FLOW = "Flow"
"""Channel header: the focus's name for the connection that the client is on."""

log = Logger()


def send_bye(channel: Channel | None, leg: Leg, reason: Reason) -> Deferred[None]:
    """Have the focus send a BYE, complete in its dialog's headers.

    The Deferred is done when it is answered or given up, and never fails. Without
    a `channel` there is nobody to send it.
    """
    if channel is None:
        return succeed(None)
    leg.dialog, bye = leg.dialog.request("BYE", headers=(("Reason", str(reason)),))
    if leg.flow:
        bye.headers.set(FLOW, leg.flow)
    return channel.request(bye).addCallbacks(
        _answered, _failed, callbackArgs=(leg,), errbackArgs=(leg,)
    )


def _answered(response: Response, leg: Leg) -> None:
    # 408 and 481: there was nobody any more, which is what a BYE is for (RFC 3261 §15.1.1).
    if response.status >= 300 and response.status not in {408, 481}:
        log.info(
            "BYE to {user} was answered {status} {reason} (Call-ID {call_id})",
            user=leg.identity,
            status=response.status,
            reason=visible(response.reason),
            call_id=visible(leg.dialog.call_id),
        )


def _failed(failure: Failure, leg: Leg) -> None:
    log.warn(
        "BYE to {user} could not be sent: {error} (Call-ID {call_id})",
        user=leg.identity,
        error=visible(failure.getErrorMessage()),
        call_id=visible(leg.dialog.call_id),
    )
