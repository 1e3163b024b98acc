"""Dialogs (RFC 3261 section 12): what two user agents know of what is between them.

A dialog is a value: what a request or response changes gives a new one, and who keeps it decides
whether the change takes place, since a request that is refused changes nothing (section 12.2.2).
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve, frozen

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import NameAddr
from msrpconf.protocols.sip.message import Headers, Message, Request, Response
from msrpconf.protocols.sip.outgoing import for_request_line
from msrpconf.protocols.sip.uri import URI

TARGET_REFRESH = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})
"""The methods whose Contact replaces the remote target.

RFC 3261, RFC 3311, RFC 6665, RFC 4488 section 4.
"""


class OutOfOrder(ValueError):
    """A request's CSeq is lower than one that came before it (RFC 3261 section 12.2.2)."""

    status = 500


@frozen
class Dialog:
    """One side's view of a dialog.

    `local_uri` and `remote_uri` are the From and To of our requests without their tags, as header
    values; `route_set` the Route values, as they were recorded. `local_cseq` is the number of our
    last request, 0 before the first; `remote_cseq` that of the peer's last one, None before the
    first. `remote_tag` is None for a peer of RFC 2543.
    """

    call_id: str
    local_tag: str
    remote_tag: str | None
    local_uri: str
    remote_uri: str
    remote_target: URI
    route_set: tuple[str, ...] = ()
    local_cseq: int = 0
    remote_cseq: int | None = None
    secure: bool = False

    @classmethod
    def from_request(cls, request: Request, local_tag: str) -> Dialog:
        """The dialog of who answers `request` with `local_tag` in To (section 12.1.1).

        Raises `SipSyntaxError` where the request has no Contact to send to.
        """
        return cls(
            call_id=request.call_id,
            local_tag=local_tag,
            remote_tag=request.from_.tag,
            local_uri=_without_tag(request.to),
            remote_uri=_without_tag(request.from_),
            remote_target=_contact(request),
            route_set=tuple(request.raw_record_routes),
            remote_cseq=request.cseq.number,
            secure=_is_secure(request, request),
        )

    @classmethod
    def from_response(cls, request: Request, response: Response) -> Dialog:
        """The dialog of who sent `request` and got `response` (section 12.1.2).

        Raises `SipSyntaxError` where the request has no From tag, or the response no Contact to
        send to.
        """
        local_tag = request.from_.tag
        if local_tag is None:
            raise SipSyntaxError("From: a request that begins a dialog must have a tag")
        return cls(
            call_id=request.call_id,
            local_tag=local_tag,
            remote_tag=response.to.tag,
            local_uri=_without_tag(request.from_),
            remote_uri=_without_tag(response.to),
            remote_target=_contact(response),
            route_set=tuple(reversed(response.raw_record_routes)),
            local_cseq=request.cseq.number,
            secure=_is_secure(request, response),
        )

    @property
    def id(self) -> tuple[str, str, str | None]:
        """Call-ID, local tag and remote tag: what names the dialog at this side."""
        return self.call_id, self.local_tag, self.remote_tag

    @property
    def next_hop(self) -> URI:
        """The URI whose address our requests go to (sections 8.1.2 and 12.2.1.1)."""
        return NameAddr.parse(self.route_set[0]).uri if self.route_set else self.remote_target

    def request(
        self, method: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> tuple[Dialog, Request]:
        """A new request in the dialog, and the dialog after it (section 12.2.1.1).

        It has Route, From, To, Call-ID and CSeq, and then `headers`; Via, Max-Forwards and the
        form for a strict router come with its transaction (`outgoing`), and a target refresh
        request wants a Contact among `headers`.
        """
        after = evolve(self, local_cseq=self.local_cseq + 1)
        return after, after._request(method, after.local_cseq, headers, body)

    def ack(
        self, invite_cseq: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> Request:
        """The ACK for a 2xx to the INVITE of that number (section 13.2.2.4).

        `headers` repeat the credentials that the INVITE had, if it had any.
        """
        return self._request("ACK", invite_cseq, headers, body)

    def _request(
        self, method: str, cseq: int, headers: Iterable[tuple[str, str]], body: bytes
    ) -> Request:
        fields = Headers([("Route", route) for route in self.route_set])
        fields.add("From", _with_tag(self.local_uri, self.local_tag))
        fields.add("To", _with_tag(self.remote_uri, self.remote_tag))
        fields.add("Call-ID", self.call_id)
        fields.add("CSeq", f"{cseq} {method}")
        for name, value in headers:
            fields.add(name, value)
        return Request(method, for_request_line(self.remote_target), fields, body)

    def accept(self, request: Request) -> Dialog:
        """The dialog after `request`, which came in it, ACK and CANCEL apart (section 12.2.2).

        Only the number changes; see `refresh_target`. Raises `OutOfOrder`.
        """
        number = request.cseq.number
        if self.remote_cseq is not None and number < self.remote_cseq:
            raise OutOfOrder(f"CSeq {number} comes after {self.remote_cseq}")
        return evolve(self, remote_cseq=number)

    def refresh_target(self, message: Message) -> Dialog:
        """The dialog after a target refresh request that is accepted, or the 2xx to one.

        The dialog as it is, where the message is neither or has no Contact (sections 12.2.1.2
        and 12.2.2).
        """
        if message.cseq.method not in TARGET_REFRESH or not message.contacts:
            return self
        if isinstance(message, Response) and not 200 <= message.status < 300:
            return self
        return evolve(self, remote_target=message.contacts[0].uri)


def _without_tag(address: NameAddr) -> str:
    kept = tuple(pair for pair in address.parameters if pair[0].lower() != "tag")
    return str(evolve(address, parameters=kept))


def _with_tag(value: str, tag: str | None) -> str:
    return value if tag is None else f"{value};tag={tag}"


def _contact(message: Message) -> URI:
    contacts = message.contacts
    if not contacts:
        raise SipSyntaxError("Contact: missing, required to begin a dialog")
    return contacts[0].uri


def _is_secure(request: Request, sent: Message) -> bool:
    # Without Via it came by a channel: the scheme alone is left to tell.
    return request.uri.scheme == "sips" and (
        "Via" not in sent.headers or sent.top_via.transport == "TLS"
    )
