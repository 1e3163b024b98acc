"""sips URIs: every hop by TLS (RFC 3261 §12.1.1, §26.2; RFC 5630 in spirit)."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from msrpconf.conference.decision import Denied
from msrpconf.protocols.sip.flow import Address, Flow, format_endpoint
from msrpconf.protocols.sip.headers import Warning_
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.outgoing import is_sips
from msrpconf.protocols.sip.uri import SipURI

SIPS_NOT_ALLOWED = 380
"""The code of a Warning: no sips here (RFC 5630 §6.3)."""


def check_sips(request: Request, flow: Flow) -> Denied | None:
    """480 for a sips URI that came without TLS: who asked for that is not served without."""
    if not is_sips(request) or flow.transport == "tls":
        return None
    return _not_allowed(
        f"SIPS Not Allowed: it came by {flow.transport.upper()}, and sips means TLS",
        format_endpoint(flow.local),
    )


def check_way_back(request: Request, listening: Sequence[Address]) -> Denied | None:
    """480 for a request of ours to a sips URI, if nobody reaches us by TLS to answer it."""
    if not is_sips(request) or any(each.transport == "tls" for each in listening):
        return None
    return _not_allowed(
        "SIPS Not Allowed: this focus listens for no TLS, by which a sips URI would reach it",
        listening[0].sent_by if listening else "localhost",
    )


def wants_sips(request: Request, flow: Flow) -> bool:
    """Whether our Contact in the answer must be a sips URI (§12.1.1)."""
    if flow.transport != "tls":
        return False
    record_routes = request.record_routes
    first = record_routes[:1] or request.contacts[:1]
    return is_sips(request) or any(each.uri.scheme == "sips" for each in first)


def as_sips(uri: SipURI) -> SipURI:
    """`uri`, reached by TLS alone; it says so without a transport (RFC 5630 §3.1.3)."""
    return evolve(uri.without_parameters("transport"), scheme="sips")


def _not_allowed(reason: str, agent: str) -> Denied:
    warning = Warning_(SIPS_NOT_ALLOWED, agent, "SIPS Not Allowed")
    return Denied(480, reason, (("Warning", str(warning)),))
