"""What a REFER asks for: Refer-To in each form that clients write (RFC 3515, RFC 4579 §5.11).

`method` stands in the URI, after the brackets or among the URI's headers; the dialog that is
meant in `?Call-ID=…&From=…&To=…`, or its tag in a parameter. All of it is taken apart here, once,
so that what is left of the URI is whom the request is about.
"""

from __future__ import annotations

from attrs import evolve, frozen

from msrpconf.protocols.sip import grammar
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import NameAddr, Parameterized
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.uri import URI, OtherURI, SipURI
from msrpconf.protocols.text import shown

MULTIPLE_REFER = "multiple-refer"
NOREFERSUB = "norefersub"

# What may stand on either side of the closing bracket, depending on who wrote it.
_OF_THE_URI = ("gr", "transport")


@frozen
class ReferTo:
    """The request that a REFER asks for: `method` (in upper case) to `uri`.

    `uri` has neither method nor headers any more. Where a dialog is named, `call_id` and `tags`
    are what is known of it; tags of either side, since both ways of writing them are seen.
    """

    uri: URI
    method: str = "INVITE"
    display_name: str | None = None
    call_id: str | None = None
    tags: frozenset[str] = frozenset()

    @classmethod
    def of(cls, address: NameAddr) -> ReferTo:
        """From an address with whatever stands in and after its brackets. `SipSyntaxError`."""
        uri = address.uri
        method = address.parameter("method")
        tags = {address.tag} if address.tag else set()
        call_id = None
        if isinstance(uri, SipURI):
            method = uri.parameter("method") or method or uri.header("method")
            call_id = uri.header("Call-ID")
            for name in ("From", "To"):
                value = uri.header(name)
                if value and (tag := _tag_in(value)):
                    tags.add(tag)
            if tag := uri.parameter("tag"):
                tags.add(tag)
            outside = [
                (name, value)
                for name, value in address.parameters
                if name.lower() in _OF_THE_URI and not uri.has_parameter(name)
            ]
            bare = uri.without_parameters("method", "tag")
            if uri.headers:
                bare = evolve(bare, headers=())
            uri = bare.with_parameters(*outside) if outside else bare
        if method is not None and not grammar.is_token(method):
            raise SipSyntaxError(f"expected a method, got {shown(method)}")
        return cls(
            uri,
            "INVITE" if method is None else method.upper(),
            address.display_name,
            call_id,
            frozenset(tags),
        )

    @classmethod
    def of_request(cls, request: Request) -> ReferTo:
        """What `request` asks for. Raises `SipSyntaxError` unless it has one Refer-To."""
        targets = request.name_addrs("Refer-To")
        if len(targets) != 1:
            raise SipSyntaxError(f"Refer-To: expected once, given {len(targets)} times")
        return cls.of(targets[0])

    @property
    def content_id(self) -> str | None:
        """Which part of the body has the targets, as a cid: URL; None where the URI is one."""
        is_list = isinstance(self.uri, OtherURI) and self.uri.scheme == "cid"
        return str(self.uri) if is_list else None


def _tag_in(value: str) -> str | None:
    try:
        return NameAddr.parse(value).tag
    except SipSyntaxError:
        return None


def wants_no_subscription(request: Request) -> bool:
    """Whether the sender of a REFER wants no NOTIFYs (RFC 4488 §4). Raises `SipSyntaxError`."""
    if (value := request.headers.get("Refer-Sub")) is not None:
        return Parameterized.parse(value).value.lower() == "false"
    return NOREFERSUB in {tag.lower() for tag in request.option_tags("Require")}


def target_dialog(request: Request) -> tuple[str, str, str] | None:
    """Target-Dialog as (Call-ID, our tag, the peer's tag) (RFC 4538 §7); None without one.

    Raises `SipSyntaxError`.
    """
    value = request.headers.get("Target-Dialog")
    if value is None:
        return None
    parsed = Parameterized.parse(value)
    ours, theirs = parsed.parameter("local-tag"), parsed.parameter("remote-tag")
    if not ours or not theirs:
        raise SipSyntaxError("Target-Dialog: expected 'call-id;local-tag=…;remote-tag=…'")
    return parsed.value, ours, theirs
