"""By which URI a room is reached: what our Contact has (RFC 7701 §9.1, RFC 3840, RFC 4579 §5.1)."""

from __future__ import annotations

from collections.abc import Iterable

from msrpconf.conference.room import ROOM_DOMAIN
from msrpconf.protocols.sip.flow import Address, bracket
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.outgoing import is_sips
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.services.focus_checks import FocusSettings
from msrpconf.services.sips import as_sips


def contact_of_room(target: str, methods: Iterable[str]) -> str:
    """The Contact with the URI `target` and the features of a focus that serves `methods`."""
    return f'<{target}>;methods="{",".join(methods)}";automata;isfocus;message'


def room_at(room: SipURI, here: Address, *, sips: bool = False) -> SipURI:
    """The room at our own address `here`, its domain kept where the address does not say it.

    `sips` is whether it is to be reached by TLS alone, which `here` must then be for.
    """
    parameters: list[tuple[str, str | None]] = []
    if here.transport != "udp" and not sips:
        parameters.append(("transport", here.transport))
    if room.host != bracket(here.host):
        parameters.append((ROOM_DOMAIN, room.host))
    scheme = "sips" if sips else "sip"
    return SipURI(scheme, room.user, None, bracket(here.host), here.port, tuple(parameters))


def introduce(
    request: Request, room: SipURI, here: Address, settings: FocusSettings, by_proxy: bool
) -> Request:
    """A room's request to somebody in no dialog, with the URI by which they reach the room.

    That is the Contact, and the Refer-To of an invitation. It is the room's own where
    a proxy is asked to carry the request, which will carry the answer, too; to whom we
    send straight it is our address `here`. `settings.contact` decides
    otherwise, as for `Focus`.
    """
    form = settings.contact
    as_itself = form == "conference" or (form == "auto" and by_proxy)
    sips = is_sips(request)
    target = str((as_sips(room) if sips else room) if as_itself else room_at(room, here, sips=sips))
    copy = request.copy()
    copy.headers.set("Contact", contact_of_room(target, settings.methods))
    if request.method == "REFER":
        copy.headers.set("Refer-To", f"<{target}>")
    return copy
