"""Files to a room and from it: what the focus asks about file sessions (RFC 5547).

A file session is a dialog of its own beside those of the participants: an INVITE to the room's
URI whose MSRP line has `a=file-selector`. With `a=sendonly` its sender gives the room a file,
with `a=recvonly` it fetches one. Nobody joins by it. It lasts as long as its user is in the room.

    expected --ACK--> joined --all of the file has passed--> done, until the BYE
        `--no ACK, no MSRP, no progress in time; BYE; its user or the room is gone--> dropped
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from msrpconf.conference.bye import FLOW, send_bye
from msrpconf.conference.decision import Denied
from msrpconf.conference.file_descriptions import FileOffer, conflict, file_offer
from msrpconf.conference.file_notice import readable_size, tell_of_file
from msrpconf.conference.file_sessions import FileSession
from msrpconf.conference.file_transfers import OVERHEAD, Receiving, Sending, Transfer
from msrpconf.conference.files import FileRefused, FileStore, RoomFiles, StoredFile
from msrpconf.conference.identity import Identity
from msrpconf.conference.leg import CONFERENCE, in_order
from msrpconf.conference.negotiation import SDP, description_in, not_acceptable
from msrpconf.conference.participant import Participant, State
from msrpconf.conference.policy import may_fetch_file, may_give_file
from msrpconf.conference.registry import ConferenceRegistry, DialogId
from msrpconf.conference.rendition import Speaker
from msrpconf.conference.room import Room
from msrpconf.conference.settings import RoomSettings, ServerSettings
from msrpconf.protocols.channel import Channel
from msrpconf.protocols.msrp.connection import session_id
from msrpconf.protocols.msrp.destination import Destination
from msrpconf.protocols.msrp.session import Session, new_session_id
from msrpconf.protocols.sdp import SdpError
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.visible import visible

MAX_OF_USER = 4
"""File sessions that one user may have in one room."""

MAX_OF_ROOM = 100
"""File sessions that one room may have."""

LINGER = 30.0
"""Seconds after the end of a transfer in which the client may say BYE."""

_LATER = (("Retry-After", "10"),)
_COMPLETE = Reason("SIP", 200, "The file transfer is complete")


class Host(Protocol):
    """What a `FileControl` shares with the control of participants."""

    registry: ConferenceRegistry
    settings: ServerSettings
    channel: Channel | None

    def new_tag(self) -> str:
        """A tag for a dialog of ours."""

    def connect(self, session: Session, destination: Destination) -> None:
        """Connect a session to where its client waits for us."""


class FileControl:
    """Serves the requests of file sessions, and ends them."""

    log = Logger()

    def __init__(self, host: Host, clock: IReactorTime, store: FileStore) -> None:
        self.store = store
        self.sessions: dict[DialogId, FileSession] = {}
        self._host = host
        self._clock = clock
        self._rooms: dict[Room, RoomFiles] = {}
        self._pending: dict[tuple[str, str | None], FileSession] = {}
        self._by_room: dict[Room, dict[FileSession, None]] = {}
        self._handlers: dict[str, Callable[[FileSession, Request], Response | Denied]] = {
            "INVITE": self._renegotiate,
            "UPDATE": self._renegotiate,
            "ACK": self._ack,
            "BYE": self._bye,
            "CANCEL": self._cancel,
            "OPTIONS": self._options,
        }

    def files_of(self, room: Room) -> RoomFiles:
        """What a room keeps. Raises OSError where the disk does not let us."""
        files = self._rooms.get(room)
        if files is None:
            files = self._rooms[room] = self.store.room(room.key, lasting=room.static)
        elif files.lasting != room.static:
            files.lasting = room.static
        return files

    def handle(self, request: Request) -> Response | Denied | None:
        """Answer a request that is about a file; None for any other. Raises `SipSyntaxError`."""
        ours, theirs = request.to.tag, request.from_.tag
        if ours is None and request.method == "INVITE":
            return self._invite(request)
        if ours is None:
            session = self._pending.get((request.call_id, theirs))
            if request.method != "CANCEL":
                return None
        else:
            session = self.sessions.get((request.call_id, ours, theirs))
        if session is None:
            return None
        handler = self._handlers.get(request.method)
        if handler is None:
            return Denied(501, f"{request.method} is not understood in a file transfer")
        return handler(session, request)

    # Beginning.

    def _invite(self, request: Request) -> Response | Denied | None:
        if b"a=file-selector:" not in request.body:
            return None
        settings = self._host.settings
        uri = request.headers.get(CONFERENCE) or str(request.uri)
        room = self._host.registry.rooms.get(parse_uri(uri).key)
        try:
            offer = self._offer_in(request, settings.room if room is None else room.settings)
        except SdpError as error:
            return not_acceptable(error, self._host.settings)
        if offer is None:
            return None
        if room is None:
            return Denied(404, "No such room, or it has ended: its files went with it")
        user = Identity.of_request(request)
        denied = self._may_begin(room, user, offer)
        if denied is not None:
            return denied
        dialog = Dialog.from_request(request, self._host.new_tag())
        flow = request.headers.get(FLOW) or ""
        session = FileSession(
            self, self._clock, room, user, _speaker(room, user), dialog, flow, offer
        )
        denied = self._begin(session, offer)
        if denied is not None:
            return denied
        self.sessions[dialog.id] = session
        self._by_room.setdefault(room, {})[session] = None
        self._pending[dialog.call_id, dialog.remote_tag] = session
        return self._answered(request, session)

    def _may_begin(self, room: Room, user: Identity, offer: FileOffer) -> Denied | None:
        denied = may_give_file(room, user) if offer.sends else may_fetch_file(room, user)
        if denied is not None:
            return denied
        if not room.settings.files:
            return self._not_here("This room takes no files")
        of_room = self._of(room)
        of_user = sum(each.identity.key == user.key for each in of_room)
        if of_user >= MAX_OF_USER:
            text = f"You have {MAX_OF_USER} files under way in this room: wait for one to end"
            return Denied(486, text, _LATER)
        settings = self._host.settings
        if len(of_room) >= MAX_OF_ROOM:
            text = f"This room has {MAX_OF_ROOM} files under way: try again later"
            return Denied(486, text, _LATER)
        if len(self._host.registry.sessions) >= settings.max_sessions:
            text = f"This server has its {settings.max_sessions} sessions: try again later"
            return Denied(503, text, _LATER)
        return None

    def _offer_in(
        self, request: Request, room: RoomSettings, before: FileOffer | None = None
    ) -> FileOffer | None:
        description = description_in(request)
        if description is None:
            return None
        return file_offer(description, self._host.settings, room, before)

    def _not_here(self, why: str) -> Denied:
        return not_acceptable(SdpError(why), self._host.settings)

    def _begin(self, session: FileSession, offer: FileOffer) -> Denied | None:
        """Begin the transfer that `offer` asks for, in place of the one before."""
        settings, room = self._host.settings, session.room
        local_path = settings.local_path(new_session_id(), offer.media.secure)
        remote_path = " ".join(offer.media.path)
        paths = local_path.encode("ascii"), remote_path.encode("ascii")
        transfer: Transfer
        try:
            if offer.sends:
                offer.check_type(room.settings)
                upload = self.files_of(room).begin(offer.file.selector, room.settings)
                limits = evolve(settings.limits, message_octets=upload.limit + OVERHEAD)
                transfer = Receiving(
                    session,
                    *paths,
                    self._clock,
                    limits,
                    upload,
                    room.settings,
                    session.speaker.uri,
                )
                what = offer.file.selector.name or "a file"
            else:
                file = self.files_of(room).find(offer.file.selector)
                if file is None:
                    return self._not_here("This room has no such file")
                form = offer.form_of(file, room.uri)
                octets = self.files_of(room).open(file)
                octets.seek(form.first)
                transfer = Sending(
                    session,
                    *paths,
                    self._clock,
                    Sending.limits(settings.limits),
                    file,
                    octets,
                    form.count,
                    form.content_type,
                    form.head,
                )
                offer = evolve(offer, found=file)
                what = file.name
        except SdpError as error:
            return not_acceptable(error, settings)
        except FileRefused as error:
            if error.status == 503:
                return Denied(503, error.reason, _LATER)
            return self._not_here(error.reason)
        except OSError as error:
            self.log.error(
                "the files of {room} are out of reach: {error}", room=room.uri, error=error
            )
            return Denied(503, "The room's files cannot be read now: try again later", _LATER)
        transfer.admit_only(offer.trusts)
        self._end_transfer(session)
        session.offer, session.transfer = offer, transfer
        session.used.add(offer.file.transfer_id)
        sessions = self._host.registry.sessions
        sessions[session_id(transfer.session.local_path)] = transfer.session
        self._log("receives" if offer.sends else "sends", session, what)
        return None

    def _answered(self, request: Request, session: FileSession) -> Response:
        """The 200 with our description; after one to INVITE, an ACK has to come."""
        if request.method == "INVITE":
            session.unacknowledged = request.cseq.number
            self._wait(session, self._host.settings.ack_timeout, "No ACK")
        return request.response(
            200,
            headers=(("Content-Type", SDP),),
            body=session.describe(self._host.settings),
            to_tag=session.dialog.local_tag,
        )

    # In the dialog.

    def _ack(self, session: FileSession, request: Request) -> Response:
        if request.cseq.number == session.unacknowledged:
            session.unacknowledged = None
            session.state = State.JOINED
            self._no_longer_pending(session)
            self._expect(session)
        return request.response(200)

    def _cancel(self, session: FileSession, request: Request) -> Response | Denied:
        if session.unacknowledged != request.cseq.number:
            return Denied(481, "There is no such INVITE to cancel")
        self._leave(session, "cancelled")
        return request.response(200)

    def _bye(self, session: FileSession, request: Request) -> Response | Denied:
        denied = in_order(session, request)
        if denied is None:
            self._leave(session, "over")
        return denied or request.response(200)

    def _options(self, session: FileSession, request: Request) -> Response | Denied:
        return in_order(session, request) or request.response(200)

    def _renegotiate(self, session: FileSession, request: Request) -> Response | Denied:
        """A re-INVITE or UPDATE: the same transfer, its end, or another one (RFC 5547 §8.1)."""
        denied = in_order(session, request)
        if denied is not None:
            return denied
        try:
            offer = self._offer_in(request, session.room.settings, session.offer)
        except SdpError as error:
            return not_acceptable(error, self._host.settings)
        if offer is None and request.body:
            return self._not_here("This dialog is for files: join in another one")
        if offer is not None:
            denied = self._take_offer(session, offer)
            if denied is not None:
                return denied
        session.dialog = session.dialog.refresh_target(request)
        session.flow = request.headers.get(FLOW) or session.flow
        if offer is None and request.method == "UPDATE":
            return request.response(200)
        response = self._answered(request, session)
        if request.method == "UPDATE" and session.state is State.JOINED:
            self._expect(session)
        return response

    def _take_offer(self, session: FileSession, offer: FileOffer) -> Denied | None:
        known = session.offer.file
        if offer.ended:
            self._end_transfer(session)
            session.transfer = None
        elif offer.file.transfer_id not in session.used:
            return self._begin(session, offer)
        elif offer.file.transfer_id != known.transfer_id or conflict(known, offer.file):
            # One identifier, another file: an error, which ends the transfer.
            self._end_transfer(session)
            session.transfer = None
        session.offer = evolve(offer, found=session.offer.found)
        return None

    # Time.

    def _expect(self, session: FileSession) -> None:
        """The client has our 200: wait for what comes next."""
        transfer = session.transfer
        if transfer is None or transfer.over:
            self._linger(session)
        elif transfer.session.connection is not None:
            self._wait_for_more(session)
        else:
            self._wait(session, self._host.settings.msrp_timeout, "No MSRP connection")
            where = session.offer.connect_to
            if where is not None:
                self._host.connect(transfer.session, where)

    def moved(self, session: FileSession) -> None:
        """Some of the file has passed, or can pass now."""
        if session.state is State.JOINED and session.unacknowledged is None:
            self._wait_for_more(session)

    def _wait_for_more(self, session: FileSession) -> None:
        self._wait(session, self._host.settings.limits.chunk_timeout, "No more of the file")

    def _linger(self, session: FileSession) -> None:
        """The client, which began the session, is the one to end it; but not later than this."""
        session.wait(LINGER, lambda: self._end(session, _COMPLETE))

    def _wait(self, session: FileSession, seconds: float, why: str) -> None:
        reason = Reason("SIP", 408, f"{why} within {seconds:g} s")
        session.wait(seconds, lambda: self._end(session, reason))

    # Ending.

    def done(self, session: FileSession, file: StoredFile) -> None:
        """All of a file has passed: the room is told of what it was given."""
        what = f"{file.name}, {readable_size(file.size)}"
        self._log("received" if session.sends else "sent", session, what)
        if session.sends:
            tell_of_file(session.room, _speaker(session.room, session.identity), file)
        if session.state is State.JOINED and session.unacknowledged is None:
            self._linger(session)

    def failed(self, session: FileSession, status: int, reason: str) -> None:
        """A transfer has failed; MSRP has its answer first, then the dialog ends."""
        self._log("failed", session, reason)
        session.wait(0, lambda: self._end(session, Reason("SIP", status, reason)))

    def left(self, participant: Participant) -> None:
        """Somebody is out of a room: their file sessions end."""
        room = participant.room
        key = participant.identity.key
        if room.devices_of(key):
            return
        for session in self._of(room):
            if session.identity.key == key:
                self._end(session, Reason("SIP", 403, "You are not in the room any more"))

    def room_ended(self, room: Room) -> None:
        """A room is no more: so are its files, and who gives and fetches them is told."""
        for session in self._of(room):
            self._end(session, Reason("SIP", 410, "The room has ended"))
        files = self._rooms.pop(room, None)
        if files is not None:
            files.clear()

    def close(self, reason: Reason) -> list[Deferred[None]]:
        """End all sessions; each Deferred is done when its BYE is answered or given up."""
        return [self._end(each, reason) for each in list(self.sessions.values())]

    def _of(self, room: Room) -> list[FileSession]:
        return list(self._by_room.get(room, ()))

    def _end(self, session: FileSession, reason: Reason) -> Deferred[None]:
        self._leave(session, f"ended: {reason.text}")
        return send_bye(self._host.channel, session, reason)

    def _leave(self, session: FileSession, how: str) -> None:
        session.state = State.DROPPED
        session.stop_timer()
        self._no_longer_pending(session)
        self.sessions.pop(session.dialog.id, None)
        of_room = self._by_room.get(session.room, {})
        of_room.pop(session, None)
        if not of_room:
            self._by_room.pop(session.room, None)
        self._end_transfer(session)
        self._log(how, session)

    def _end_transfer(self, session: FileSession) -> None:
        transfer = session.transfer
        if transfer is not None:
            transfer.stop()
            registry = self._host.registry
            registry.sessions.pop(session_id(transfer.session.local_path), None)
            transfer.session.close()

    def _no_longer_pending(self, session: FileSession) -> None:
        key = session.dialog.call_id, session.dialog.remote_tag
        if self._pending.get(key) is session:
            del self._pending[key]

    def _log(self, what: str, session: FileSession, detail: str = "") -> None:
        self.log.info(
            "file {what}{colon}{detail}: {user} in {room} (Call-ID {call_id})",
            what=what,
            colon=": " if detail else "",
            detail=visible(detail),
            user=session.identity,
            room=session.room.uri,
            call_id=visible(session.dialog.call_id),
        )


def _speaker(room: Room, user: Identity) -> Speaker:
    """A user as the others see it: no better known by a file than by what it says."""
    devices = sorted(room.devices_of(user.key), key=lambda each: not each.identity.anonymous)
    return devices[0].speaker if devices else Speaker.of(room.introduce(user))
