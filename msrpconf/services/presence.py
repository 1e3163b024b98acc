"""presence-msrp-conference: tells watchers what happens in rooms (RFC 6665, RFC 4575).

It has the SIP endpoint, and so the proxies that are believed, in common with a focus, or is
alone there (`presence_apart`); what it knows of rooms it has from `ConferenceStates`.

    client --SUBSCRIBE--> presence          (who may watch, for how long)
    client <--200-------- presence
    client <--NOTIFY----- presence <-- a change in the room
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from attrs import field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime

from msrpconf.conference.decision import Denied
from msrpconf.conference.participant import Participant
from msrpconf.conference.room import Room
from msrpconf.conference.states import Change, ConferenceInfo, ConferenceStates, ended_document
from msrpconf.presence.notifier import Notifier
from msrpconf.presence.publishing import Publishing
from msrpconf.presence.settings import NotifierSettings
from msrpconf.presence.subscribing import Lifetimes, Subscribing
from msrpconf.presence.watching import CONFERENCE_EVENT, Package, WatchPolicy
from msrpconf.presence.winfo import WINFO_EVENT, WatcherInfos
from msrpconf.protocols.conference_info import CONFERENCE_INFO, document
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.transaction import ServerTransaction
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.services.endpoint import SipEndpoint
from msrpconf.services.focus_checks import check_extensions, conference_uri
from msrpconf.services.notify_sender import NotifySender
from msrpconf.services.presence_memory import PresenceMemory
from msrpconf.services.presence_user_agent import is_from_focus
from msrpconf.services.user_agent import RETRY_AFTER, UserAgentServer, is_direct
from msrpconf.storage.database import Database
from msrpconf.storage.kept import KeptStore

EVENTS = (CONFERENCE_EVENT, WINFO_EVENT)
"""The event packages that are served."""

STOP_TIMEOUT = 3.0
"""Seconds for the last NOTIFYs to be answered when the service stops."""


@frozen
class PresenceSettings:
    """What an operator decides about the presence agent."""

    notifier: NotifierSettings = field(factory=NotifierSettings)
    lifetimes: Lifetimes = field(factory=Lifetimes)


class PresenceAgent:
    """Serves what the user agent hands over, and sends NOTIFYs through `sender`.

    `participant` gives the participant in whose dialog a request is, `room` the room of a
    key; None where the rooms are elsewhere, and user agents can publish nothing here.
    """

    def __init__(
        self,
        clock: IReactorTime,
        user_agent: UserAgentServer,
        sender: NotifySender,
        states: ConferenceStates,
        policy: WatchPolicy,
        participant: Callable[[Request], Participant | None],
        settings: PresenceSettings,
        room: Callable[[str], Room | None] | None = None,
    ) -> None:
        self._user_agent = user_agent
        self.notifier = Notifier(clock, sender.send, settings.notifier)
        conference = Package(
            CONFERENCE_EVENT,
            CONFERENCE_INFO,
            find=states.find,
            decide=policy.decide,
            empty=partial(_document, "full"),
            nothing=Change(),
            ended=ended_document,
        )
        self.watchers = WatcherInfos(clock, self.notifier, states, policy)
        packages = {each.name: each for each in (conference, self.watchers.package)}
        self._subscribing = Subscribing(
            clock, self.notifier, packages, participant, settings.lifetimes
        )
        self.packages = packages
        """The event packages, by their names."""
        self.publishing = None if room is None else Publishing(clock, room, settings.lifetimes)
        self.published: Callable[[Request], Response] | None = None
        """Takes what focuses publish of rooms that are elsewhere; None where none is."""
        self.elsewhere: Callable[[ServerTransaction], None] | None = None
        """Serves what users publish of rooms that are elsewhere; None where nobody does."""
        states.watch(self._changed)
        policy.on_change(partial(self.notifier.reconsider, CONFERENCE_EVENT))

    def _changed(self, key: str, info: ConferenceInfo, change: Change | None) -> None:
        if change is None and self.publishing is not None:
            self.publishing.room_ended(key)
        self.notifier.changed(CONFERENCE_EVENT, key, info, change)
        if change is None:
            self.watchers.room_ended(key)

    def stop(self) -> None:
        """Forget everything; nothing is sent any more."""
        if self.publishing is not None:
            self.publishing.stop()
        self.notifier.close()
        self.watchers.stop()

    def configure(self, settings: PresenceSettings) -> None:
        """Have other settings from now on."""
        self.notifier.settings = settings.notifier
        self._subscribing.lifetimes = settings.lifetimes
        if self.publishing is not None:
            self.publishing.lifetimes = settings.lifetimes

    def request_received(self, transaction: ServerTransaction) -> None:
        """Serve a request of a proxy that is believed."""
        try:
            result = self._serve(transaction)
        except SipSyntaxError as error:
            result = Denied(400, str(error))
        if isinstance(result, Denied):
            self._user_agent.refuse(transaction, result)
        if not isinstance(result, Response):
            return
        if transaction.request.method == "SUBSCRIBE":
            for value in transaction.request.headers.get_all("Record-Route"):
                result.headers.add("Record-Route", value)
        transaction.respond(result)

    def _serve(self, transaction: ServerTransaction) -> Response | Denied | None:
        """What to answer; None where somebody else does."""
        request = transaction.request
        settings = self._user_agent.settings
        denied = check_extensions(request, settings)
        if denied is not None:
            return denied
        room = conference_uri(request, settings)
        known = None if isinstance(room, Denied) else room
        if request.to.tag is None:
            # In a dialog the tags say what a request is for.
            if isinstance(room, Denied):
                return room
            if self._user_agent.closing:
                return Denied(503, "This server is shutting down: try another", (RETRY_AFTER,))
        if request.method == "SUBSCRIBE":
            return self._subscribe(transaction, known)
        if request.to.tag is not None or known is None:
            return Denied(481, "PUBLISH belongs to no dialog: leave the tag of To out")
        if self.published is not None and is_from_focus(transaction):
            return self.published(request)
        if self.publishing is None and self.elsewhere is not None:
            if request.from_.uri.key == request.uri.key:
                # Whoever serves it could take it for a focus's, since that is asked by us.
                return Denied(403, "Only its focus publishes in the name of a room")
            self.elsewhere(transaction)
            return None
        if self.publishing is None:
            return Denied(403, "The rooms are not here: change the subject in the room")
        return self.publishing.handle(request, known.key)

    def _subscribe(self, transaction: ServerTransaction, room: SipURI | None) -> Response | Denied:
        request = transaction.request
        if request.body:
            # RFC 4575 §3.2: there are no filters.
            return Denied(415, "SUBSCRIBE to a room has no body: leave it out")
        key = "" if room is None else room.key
        flow = str(transaction.flow) if is_direct(transaction) else ""
        contact = self._user_agent.contact(transaction, room)
        return self._subscribing.handle(request, key, flow, contact)


class PresenceService(Service):
    """The presence agent of the rooms that `states` knows, at an `endpoint`.

    `reactor` keeps time and finds names; `policy` says who may watch.
    """

    name = "msrpconf-presence"

    def __init__(
        self,
        reactor: Any,
        endpoint: SipEndpoint,
        states: ConferenceStates,
        policy: WatchPolicy,
        participant: Callable[[Request], Participant | None],
        settings: PresenceSettings,
        room: Callable[[str], Room | None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        sender = NotifySender(reactor, endpoint.layer, endpoint.locate, endpoint.transport.is_alive)
        self._states = states
        self.memory: PresenceMemory | None = None
        """What is known again after a restart; None for nothing."""
        self.agent = PresenceAgent(
            reactor, endpoint.user_agent, sender, states, policy, participant, settings, room
        )

    @property
    def notifier(self) -> Notifier:
        """The subscriptions."""
        return self.agent.notifier

    def configure(self, settings: PresenceSettings) -> None:
        """Have other settings from now on, for who comes from then on."""
        self.agent.configure(settings)

    def keep_in(self, database: Database, name: str, patience: float) -> None:
        """Keep what is known in `database`, under that name: see `PresenceMemory`."""
        store = KeptStore(database, name, self._reactor)
        self.memory = PresenceMemory(store, self._reactor, self.agent, self._states, patience)

    @inlineCallbacks
    def load(self) -> Generator[Deferred[Any], Any, None]:
        """Read what was kept, before the start. Fails with `DatabaseError`."""
        if self.memory is not None:
            yield self.memory.load()

    def startService(self) -> None:
        """Serve what comes to the endpoint from now on; nothing is sent before `opened`."""
        Service.startService(self)
        self.notifier.hold()
        if self.memory is not None:
            self.memory.restore()
        self._endpoint.user_agent.presence_agent = self.agent.request_received

    def opened(self) -> None:
        """The endpoint's ports are open: tell watchers what there is to tell."""
        self.notifier.release()

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Tell all watchers that nobody will tell them any more, before the endpoint stops.

        Those who are remembered are told by who starts next.
        """
        Service.stopService(self)
        if self.memory is None:
            quiet = self.notifier.stop("the server is shutting down")
        else:
            quiet = self.notifier.finish()
            yield self.memory.stop()
        yield quiet.addTimeout(STOP_TIMEOUT, self._reactor, onTimeoutCancel=lambda _, __: None)
        self.agent.stop()


def _document(state: str, uri: str, version: int) -> bytes:
    return document(uri, state, version)
