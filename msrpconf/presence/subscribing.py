"""Answers SUBSCRIBE (RFC 6665 §4.2.1, RFC 4575 §3): who may watch what, and for how long.

A subscription has a dialog of its own, or is in that of a participant, where its NOTIFYs are
numbered with the server's other requests.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import cast

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.participant import Participant
from msrpconf.conference.subscription import DialogHolder, OwnDialog
from msrpconf.presence.notifier import Notifier
from msrpconf.presence.rates import Rates
from msrpconf.presence.subscription import Subscription
from msrpconf.presence.table import IN_DIALOG
from msrpconf.presence.watching import Decision, Package
from msrpconf.protocols.sip.dialog import Dialog, OutOfOrder
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import Parameterized, split_list
from msrpconf.protocols.sip.identifiers import new_tag
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.protocols.text import shown

TAG_PREFIX = "presence."
"""What our tags begin with: no server of a conference is called so."""

MAX_ID = 128
"""Characters that the id of an Event may have."""


@frozen
class Lifetimes:
    """How long subscriptions last, in seconds (RFC 4575 §3.3: an hour if nobody says more)."""

    default: int = 3600
    shortest: int = 60
    longest: int = 86400

    def agreed(self, asked: int | None) -> int | Denied:
        """What is agreed on; 0 is the end."""
        if asked is None:
            return min(self.default, self.longest)
        if 0 < asked < min(self.shortest, 3600):
            why = f"Expires of {asked} s is too short here: ask for {self.shortest} s or more"
            return Denied(423, why, (("Min-Expires", str(self.shortest)),))
        return min(asked, self.longest)


class Subscribing:
    """Serves SUBSCRIBE.

    `packages` are the event packages by name; `participant` gives the participant in whose
    dialog a request is.
    """

    def __init__(
        self,
        clock: IReactorTime,
        notifier: Notifier,
        packages: Mapping[str, Package],
        participant: Callable[[Request], Participant | None],
        lifetimes: Lifetimes,
    ) -> None:
        self.packages = packages
        self._clock = clock
        self._notifier = notifier
        self._participant = participant
        self.lifetimes = lifetimes

    @property
    def allow_events(self) -> tuple[str, str]:
        """The header field that names the packages."""
        return "Allow-Events", ", ".join((*self.packages, "refer"))

    def handle(self, request: Request, key: str, flow: str, contact: str) -> Response | Denied:
        """Answer a SUBSCRIBE to the room `key`; the first NOTIFY follows the answer.

        `flow` names the connection to a direct client, and `contact` is our Contact. Raises
        `SipSyntaxError`.
        """
        event = request.event
        if event is None or event.value not in self.packages:
            return self._unknown_event(request, event)
        package = self.packages[event.value]
        denied = _check_accept(request, package) or _check_contact(request)
        lifetime = self.lifetimes.agreed(request.expires)
        denied = denied or (lifetime if isinstance(lifetime, Denied) else None)
        if denied is not None:
            return denied
        asked = _Asked(
            package, _event_of(event), cast(int, lifetime), Rates.of_event(event), contact
        )
        if request.to.tag is None:
            return self._begin(request, key, asked, flow, None)
        return self._in_dialog(request, asked, flow)

    def _unknown_event(self, request: Request, event: Parameterized | None) -> Denied:
        if event is None:
            return Denied(489, "SUBSCRIBE needs an Event", (self.allow_events,))
        if event.value == "refer":
            # RFC 3515 §2.4.4: a subscription to it is made by REFER alone.
            return Denied(403, "What comes of a REFER is told by itself, and to its sender alone")
        why = f"The event package {shown(event.value, 40)} is not served here"
        return Denied(489, why, (self.allow_events,))

    def _in_dialog(self, request: Request, asked: _Asked, flow: str) -> Response | Denied:
        dialog = request.call_id, request.to.tag or "", request.from_.tag
        known = self._notifier.in_dialog(dialog)
        holder: DialogHolder | None = known[0].holder if known else self._participant(request)
        if holder is None:
            return Denied(481, "This subscription is over, or never was: subscribe again")
        try:
            after = holder.dialog.accept(request)
        except OutOfOrder as error:
            return Denied(500, str(error), (("Retry-After", str(secrets.randbelow(10))),))
        holder.dialog = after
        subscription = self._notifier.find(dialog, asked.event)
        if subscription is not None:
            return self._refresh(request, subscription, asked, flow)
        if len(known) >= IN_DIALOG:
            return Denied(403, f"There are {IN_DIALOG} subscriptions in this dialog already")
        key = holder.room.key if isinstance(holder, Participant) else known[0].feed.key
        return self._begin(request, key, asked, flow, holder)

    def _begin(
        self,
        request: Request,
        key: str,
        asked: _Asked,
        flow: str,
        holder: DialogHolder | None,
    ) -> Response | Denied:
        package = asked.package
        source = package.find(key)
        if source is None:
            return Denied(404, "There is no such room now: join it first")
        user = Identity.of_request(request)
        watcher = holder.identity if isinstance(holder, Participant) else user
        decision = package.decide(key, watcher)
        if decision is Decision.BLOCK:
            return package.refusal(key, watcher) or Denied(403, "You may not watch this room")
        denied = self._notifier.refuses(package.name, key, watcher) if asked.lifetime else None
        if denied is not None:
            return denied
        if holder is None:
            dialog = Dialog.from_request(request, TAG_PREFIX + new_tag())
            holder = OwnDialog(dialog, flow)
        else:
            _retarget(holder, request, flow)
        feed = self._notifier.feed(package, key, source)
        now = self._clock.seconds()
        subscription = Subscription(feed, holder, watcher, asked.event, _short(asked.contact), now)
        subscription.decision = decision
        self._agree(subscription, asked)
        if asked.lifetime:
            self._notifier.begin(subscription)
        else:
            self._notifier.fetch(subscription)
        return _accepted(request, subscription, asked)

    def _refresh(
        self, request: Request, subscription: Subscription, asked: _Asked, flow: str
    ) -> Response:
        _retarget(subscription.holder, request, flow)
        self._agree(subscription, asked)
        if asked.lifetime:
            self._notifier.refresh(subscription)
        else:
            self._notifier.end(subscription, "timeout", "unsubscribed")
        return _accepted(request, subscription, asked)

    def _agree(self, subscription: Subscription, asked: _Asked) -> None:
        now = self._clock.seconds()
        subscription.expires_at = now + asked.lifetime
        interval = self._notifier.settings.interval_of(asked.package.name)
        subscription.agree(asked.rates.adjusted(interval, asked.lifetime), now)


@frozen
class _Asked:
    """What a SUBSCRIBE asks for; `lifetime` as it is agreed on."""

    package: Package
    event: str
    lifetime: int
    rates: Rates
    contact: str


def _event_of(event: Parameterized) -> str:
    """The Event of the NOTIFYs: the package and the id, without parameters for us."""
    name = event.parameter("id")
    if name is None:
        return event.value
    if len(name) > MAX_ID:
        raise SipSyntaxError(f"Event: an id has at most {MAX_ID} characters")
    return str(Parameterized(event.value, (("id", name),)))


def _check_accept(request: Request, package: Package) -> Denied | None:
    """406 for who does not take our documents (RFC 4575 §3.4)."""
    if "Accept" not in request.headers:
        return None
    ranges = {
        each.partition(";")[0].strip().lower()
        for value in request.headers.get_all("Accept")
        for each in split_list(value)
    }
    if not ranges.isdisjoint({package.content_type, "application/*", "*/*"}):
        return None
    why = f"NOTIFY has {package.content_type}: name it in Accept, or leave Accept out"
    return Denied(406, why, (("Accept", package.content_type),))


def _check_contact(request: Request) -> Denied | None:
    contacts = request.contacts
    if not contacts and request.to.tag is not None:
        return None
    if len(contacts) == 1 and isinstance(contacts[0].uri, SipURI):
        return None
    return Denied(400, "SUBSCRIBE needs one Contact with a sip URI, to be told at")


def _retarget(holder: DialogHolder, request: Request, flow: str) -> None:
    holder.dialog = holder.dialog.refresh_target(request)
    holder.flow = flow or holder.flow


def _short(contact: str) -> str:
    """Our Contact as NOTIFYs have it, which are to be small: who it is, and if it is a focus."""
    uri, _, features = contact.partition(">")
    return f"{uri}>;isfocus" if ";isfocus" in features else f"{uri}>"


def _accepted(request: Request, subscription: Subscription, asked: _Asked) -> Response:
    headers = (("Expires", str(asked.lifetime)), ("Contact", asked.contact))
    tag = subscription.holder.dialog.local_tag
    return request.response(200, headers=headers, to_tag=tag)
