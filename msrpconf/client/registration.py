"""Being registered: the user's proxy knows where we are (RFC 3261 §10.2)."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.grammar import parse_number
from msrpconf.protocols.sip.headers import NameAddr
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.transaction import new_call_id, new_tag
from msrpconf.protocols.sip.uri import SipURI, parse_uri
from msrpconf.visible import visible

if TYPE_CHECKING:
    from msrpconf.client.agent import UserAgent

AGAIN = 0.8
"""What part of the time that is granted passes before we register again."""

RETRY = 30.0
"""Seconds after which a registration is tried again that failed once we were registered."""

SHORTEST = 10.0
"""Seconds between registrations, whatever a registrar grants."""


class RegisterError(Exception):
    """The registrar does not have us: a SIP `status`, and a `reason` that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


class Registration:
    """The binding of a user agent's address to its user, for `expires` seconds at a time."""

    log = Logger()

    def __init__(self, agent: UserAgent, expires: float) -> None:
        self._agent = agent
        self._expires = int(expires)
        self._call_id = new_call_id()
        self._cseq = 0
        self._tag = new_tag()
        self._timer: IDelayedCall | None = None
        self._contact = ""
        self._address: Address | None = None
        self._ended = False

    @inlineCallbacks
    def begin(self) -> Generator[Deferred[Any], Any, None]:
        """Register, and stay so. Fails with `RegisterError`."""
        self._stop_timer()
        agent = self._agent
        domain = SipURI("sip", None, None, SipURI.parse(agent.user).host)
        try:
            addresses = yield agent.locate_proxy(domain)
        except TransportError as error:
            raise RegisterError(503, str(error)) from None
        for address in addresses:
            response = yield self._at(address, domain)
            if response.status not in (408, 503):
                break  # else the next one may serve (RFC 3263 §4.3)
        if response.status == 423:
            self._expires = max(self._expires, _number(response, "Min-Expires"))
            response = yield self._register(domain, self._expires)
        if response.status >= 300:
            raise RegisterError(response.status, response.reason)
        if not self._ended:
            granted = self._granted(response)
            self._timer = agent.clock.callLater(max(SHORTEST, AGAIN * granted), self._again)

    @inlineCallbacks
    def _at(self, address: Address, domain: SipURI) -> Generator[Deferred[Any], Any, Response]:
        """The registrar's answer at an address, which is kept; 503 where we cannot get there."""
        self._address = address
        try:
            self._contact = yield self._agent.contact_towards(address)
        except (TransportError, CannotListenError) as error:
            return Response(503, str(error), Headers())
        response: Response = yield self._register(domain, self._expires)
        return response

    @inlineCallbacks
    def end(self) -> Generator[Deferred[Any], Any, None]:
        """Be registered no more; done when the registrar knows."""
        self._ended = True
        was_registered = self._timer is not None
        self._stop_timer()
        if was_registered:
            domain = SipURI("sip", None, None, SipURI.parse(self._agent.user).host)
            yield self._register(domain, 0)

    def _again(self) -> None:
        self._timer = None
        self.begin().addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        self.log.warn("registering again failed: {error}", error=visible(failure.getErrorMessage()))
        if not self._ended and self._timer is None:
            self._timer = self._agent.clock.callLater(RETRY, self._again)

    def _register(self, domain: SipURI, expires: int) -> Deferred[Response]:
        assert self._address is not None
        # Further by more than one: what goes again with a password counts, too.
        self._cseq += 10
        user = NameAddr(parse_uri(self._agent.user), self._agent.display_name)
        headers = Headers(
            [
                ("From", str(user.with_tag(self._tag))),
                ("To", f"<{self._agent.user}>"),
                ("Call-ID", self._call_id),
                ("CSeq", f"{self._cseq} REGISTER"),
                ("Contact", self._contact),
                ("Expires", str(expires)),
            ]
        )
        return self._agent.send_to(Request("REGISTER", domain, headers), self._address)

    def _granted(self, response: Response) -> float:
        """The seconds that the registrar gives us: those of our own Contact among all."""
        ours = NameAddr.parse(self._contact).uri
        try:
            for contact in response.contacts:
                given = contact.parameter("expires")
                if given is not None and str(contact.uri) == str(ours):
                    return parse_number(given, 2**32 - 1)
            expires = response.expires
        except SipSyntaxError:
            return self._expires
        return self._expires if expires is None else expires

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def _number(response: Response, name: str) -> int:
    try:
        return parse_number(response.headers.get(name) or "", 2**32 - 1)
    except SipSyntaxError:
        return 0
