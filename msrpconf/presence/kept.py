"""Subscriptions as they are kept over a restart of the presence agent.

What was sent since it was written is not known when it is read. So numbers go on far above: a CSeq
may be higher by more than one (RFC 3261 §12.2.2), and so may the version of a full document
(RFC 4575 §4.6), but neither may ever be lower. They are written again before they have come so far.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from msrpconf.conference.identity import Identity
from msrpconf.conference.subscription import OwnDialog
from msrpconf.presence.feed import MAX_VERSION, Feed
from msrpconf.presence.rates import Rates
from msrpconf.presence.subscription import Subscription
from msrpconf.presence.watching import Decision
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.uri import parse_uri

AHEAD = 1000
"""How much higher numbers are after a restart, at least."""

PER_SECOND = 20
"""And how much for each second since they were written: more NOTIFYs than anybody is sent."""

_MAX_CSEQ = 2**31 - 1


class KeptError(ValueError):
    """What was kept of a subscription cannot be read."""


@frozen
class KeptSubscription:
    """A subscription to what `package` tells of `room`, a key. Times are in seconds of the epoch.

    `cseq` and `version` are those of the last NOTIFY at the time `at`; `uri` is what its
    documents are about.
    """

    id: str
    package: str
    room: str
    uri: str
    event: str
    contact: str
    flow: str
    dialog: Dialog
    watcher: Identity
    decision: Decision
    rates: Rates
    cause: str
    began: float
    expires_at: float
    version: int
    at: float

    @classmethod
    def of(cls, subscription: Subscription, now: float) -> KeptSubscription | None:
        """What there is to keep; None for one in a participant's dialog, which goes with that."""
        holder, feed = subscription.holder, subscription.feed
        if not isinstance(holder, OwnDialog):
            return None
        return cls(
            subscription.id,
            feed.package.name,
            feed.key,
            feed.uri,
            subscription.event,
            subscription.contact,
            holder.flow,
            holder.dialog,
            subscription.watcher,
            subscription.decision,
            subscription.rates,
            subscription.cause,
            subscription.began,
            subscription.expires_at,
            subscription.version,
            now,
        )

    def encode(self) -> bytes:
        """It as octets, in JSON."""
        dialog, rates = self.dialog, self.rates
        document = {
            "package": self.package,
            "room": self.room,
            "uri": self.uri,
            "event": self.event,
            "contact": self.contact,
            "flow": self.flow,
            "call_id": dialog.call_id,
            "local_tag": dialog.local_tag,
            "remote_tag": dialog.remote_tag,
            "local_uri": dialog.local_uri,
            "remote_uri": dialog.remote_uri,
            "target": str(dialog.remote_target),
            "routes": dialog.route_set,
            "cseq": dialog.local_cseq,
            "peer_cseq": dialog.remote_cseq,
            "secure": dialog.secure,
            "watcher": describe(self.watcher),
            "decision": self.decision.value,
            "rates": (rates.maximum, rates.minimum, rates.adaptive),
            "cause": self.cause,
            "began": self.began,
            "expires_at": self.expires_at,
            "version": self.version,
            "at": self.at,
        }
        return json.dumps(document, separators=(",", ":")).encode("ascii")

    @classmethod
    def decode(cls, name: str, octets: bytes) -> KeptSubscription:
        """Read what `encode` has written of the subscription of that id. Raises `KeptError`."""
        try:
            return cls._of_document(name, json.loads(octets))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise KeptError(f"what was kept of a subscription cannot be read: {error!r}") from None
        except SipSyntaxError as error:
            raise KeptError(f"what was kept of a subscription cannot be read: {error}") from None

    @classmethod
    def _of_document(cls, name: str, told: Mapping[str, Any]) -> KeptSubscription:
        remote_tag, peer_cseq = told["remote_tag"], told["peer_cseq"]
        dialog = Dialog(
            _text(told["call_id"]),
            _text(told["local_tag"]),
            None if remote_tag is None else _text(remote_tag),
            _text(told["local_uri"]),
            _text(told["remote_uri"]),
            parse_uri(_text(told["target"])),
            tuple(map(_text, told["routes"])),
            _count(told["cseq"]),
            None if peer_cseq is None else _count(peer_cseq),
            bool(told["secure"]),
        )
        rates = [None if each is None else float(each) for each in told["rates"]]
        maximum, minimum, adaptive = rates
        return cls(
            name,
            _text(told["package"]),
            _text(told["room"]),
            _text(told["uri"]),
            _text(told["event"]),
            _text(told["contact"]),
            _text(told["flow"]),
            dialog,
            read_identity(told["watcher"]),
            Decision(told["decision"]),
            Rates(maximum, minimum, adaptive),
            _text(told["cause"]),
            float(told["began"]),
            float(told["expires_at"]),
            _count(told["version"], least=-1),
            float(told["at"]),
        )

    def revive(self, feed: Feed, now: float) -> Subscription:
        """The subscription, to `feed`, whose numbers are higher than any that were sent."""
        ahead = AHEAD + round(max(0.0, now - self.at) * PER_SECOND)
        cseq = min(self.dialog.local_cseq + ahead, _MAX_CSEQ - 1)
        holder = OwnDialog(evolve(self.dialog, local_cseq=cseq), self.flow)
        subscription = Subscription(feed, holder, self.watcher, self.event, self.contact, now)
        subscription.id = self.id
        subscription.cause = self.cause
        subscription.began = self.began
        subscription.decision = self.decision
        subscription.version = min(self.version + ahead, MAX_VERSION - 1)
        subscription.expires_at = self.expires_at
        subscription.agree(self.rates, now)
        return subscription


def describe(user: Identity) -> dict[str, Any]:
    """A user, for JSON."""
    return {
        "uri": user.uri,
        "name": user.display_name,
        "keys": user.keys,
        "proven": user.proven,
        "anonymous": user.anonymous,
    }


def read_identity(told: Mapping[str, Any]) -> Identity:
    """The user that `describe` has described. Raises `ValueError`, `KeyError`, `TypeError`."""
    keys = tuple(map(_text, told["keys"]))
    if not keys:
        raise KeptError("a user has no URI")
    proven = tuple(map(_text, told["proven"]))
    name = None if told["name"] is None else _text(told["name"])
    return Identity(_text(told["uri"]), name, keys, proven, bool(told["anonymous"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, found {value!r:.40}")
    return value


def _count(value: object, least: int = 0) -> int:
    if not isinstance(value, int) or not least <= value <= MAX_VERSION:
        raise TypeError(f"expected a number, found {value!r:.40}")
    return value


def kept_until(subscription: Subscription) -> int:
    """The CSeq at which one that is written now is to be written again."""
    return subscription.holder.dialog.local_cseq + AHEAD // 2
