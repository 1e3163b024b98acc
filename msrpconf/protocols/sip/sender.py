"""What transactions ask of a transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Request, Response


class TransportError(Exception):
    """A message could not be sent (RFC 3261 sections 8.1.3.1 and 18.4): 503 on the wire.

    The text says where to, and why not.
    """

    status = 503


@frozen
class Sent:
    """A message as it went out: its octets, and the flow that took them.

    All that is needed to send it again; much smaller than the message, and transactions keep
    it for half a minute. For UDP `flow.remote` is where it was sent to, which for a response
    need not be where the request came from (RFC 3261 section 18.2.2).
    """

    octets: bytes
    flow: Flow


ErrorHook = Callable[[TransportError], None]
"""Told, once at most, that a message could not be sent."""


class MessageSender(Protocol):
    """Sends messages: `TransportLayer`, or a list in a test."""

    def send_request(
        self, request: Request, target: Address, flow: Flow | None = None
    ) -> Deferred[Flow]:
        """Sends `request` over `flow` if that is alive, else to `target`.

        The request's top Via is there, with its branch; its transport, sent-by and rport are
        filled in, in place. The Deferred gives the flow that took the request, or fails with
        `TransportError`; cancelled in time, nothing is sent.
        """

    def send_response(
        self, response: Response, flow: Flow, on_error: ErrorHook | None = None
    ) -> Sent:
        """Sends `response` to where RFC 3261 section 18.2.2 says.

        `flow` is the one that the request came by. Never raises: a failure is told to
        `on_error`, at once or later.
        """

    def repeat(self, sent: Sent) -> None:
        """Sends a message once more. Failures are not told: the first sending told of them."""
