"""A chat at a terminal: what is typed goes to the room, what others say is shown.

`TerminalChat` is the visit; it is in one room at a time, which a `Stay` shows, and reads and
writes at a `Console`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList, inlineCallbacks, succeed
from twisted.python.failure import Failure

from msrpconf.client.call import JoinError
from msrpconf.client.chat import Chat
from msrpconf.client.consoles import Console
from msrpconf.client.files import FileTransferError, safe_name
from msrpconf.client.invited import Invited
from msrpconf.client.lines import HELP, Action, complete, first_word, read_line
from msrpconf.client.message import Person
from msrpconf.client.people import UnknownPerson
from msrpconf.client.progress import Progress
from msrpconf.client.referring import ReferError
from msrpconf.client.stay import Stay
from msrpconf.protocols.msrp.sending import SendError
from msrpconf.protocols.sdp_file import FileSelector
from msrpconf.protocols.sipfrag import Fragment
from msrpconf.visible import visible

MAX_EXCERPT = 60
"""Characters that are shown of a message that was not delivered."""

_FAILURES = (SendError, ReferError, JoinError, FileTransferError, OSError, CancelledError)


class JoinsRooms(Protocol):
    """What a `TerminalChat` needs of a `UserAgent`."""

    user: str
    display_name: str | None
    on_invited: Callable[[Invited], None] | None

    @property
    def tls(self) -> bool:
        """Whether MSRP goes over TLS."""

    def join(self, room: str, **listening: Any) -> Deferred[Chat]:
        """See `UserAgent.join`."""


class ChatEnded(Exception):
    """The room, or the way to it, ended a chat. The text says why."""


class TerminalChat:
    """One user's visit to the room at the URI `room`, at `console`.

    `directory` is where files are fetched to; `seconds` gives the time.
    """

    def __init__(
        self,
        agent: JoinsRooms,
        room: str,
        console: Console,
        directory: Path | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agent = agent
        self._console = console
        self._directory = directory or Path()
        self._seconds = seconds
        self._stay = self._stay_in(room)
        self._over: Deferred[None] = Deferred()
        self._sending: set[Deferred[None]] = set()
        self._transfers: dict[Progress, Deferred[Any]] = {}
        self._inviting: set[Deferred[Any]] = set()
        self._invitations: list[Invited] = []
        self._failed = 0
        self._commands: dict[Action, Callable[[str], Deferred[None] | None]] = {
            Action.MSG: self._whisper,
            Action.NICK: self._use_nickname,
            Action.WHO: lambda _: self._notice(self._stay.who()),
            Action.SEND: self._send_file,
            Action.FILES: lambda _: self._notice(self._stay.files()),
            Action.GET: self._fetch_file,
            Action.INVITE: self._invite,
            Action.ACCEPT: self._accept,
            Action.DECLINE: self._decline,
            Action.KICK: self._remove,
            Action.MUTE: lambda text: self._mute(text, True),
            Action.UNMUTE: lambda text: self._mute(text, False),
            Action.SUBJECT: self._change_subject,
            Action.HELP: lambda _: self._notice(HELP),
            Action.LEAVE: lambda _: self._leave(),
            Action.UNKNOWN: self._unknown,
        }

    @inlineCallbacks
    def run(self) -> Generator[Deferred[Any], Any, int]:
        """Joins, and is done when the user wants to leave, and what he said was answered.

        Gives how much of what the user wanted was not done: messages that were not delivered
        among it. Fails with `JoinError`, or with `ChatEnded` if it was not the user who ended
        it. Cancelling it is what Ctrl-C does: to want to leave.
        """
        self._agent.on_invited = self._invited
        stay = self._stay
        stay.chat = yield self._agent.join(stay.room, **stay.listening)
        self._entered(stay)
        self._console.start(self._line_typed, self._leave, self._edited, self._complete)
        ended: ChatEnded | None = None
        try:
            yield self._over
        except CancelledError:
            pass
        except ChatEnded as error:
            ended = error
        for waiting in [*self._transfers.values(), *self._inviting]:
            waiting.cancel()
        yield self._console.stop()
        if ended is not None:
            raise ended
        yield DeferredList(list(self._sending))
        return self._failed

    def _stay_in(self, room: str) -> Stay:
        agent = self._agent
        return Stay(
            room,
            agent.user,
            agent.display_name,
            self._console,
            self._refresh,
            self._ended,
            self._seconds,
        )

    def _entered(self, stay: Stay) -> None:
        chat = stay.chat
        self._notice(f"You are in {chat.room} as {chat.user}. /leave to leave, /help for help.")
        self._console.panel(stay.panel)
        self._refresh()

    # From the room.

    def _ended(self, stay: Stay, why: str) -> None:
        if stay is self._stay and not self._over.called:
            self._over.errback(ChatEnded(why))

    def _invited(self, invited: Invited) -> None:
        self._invitations = [each for each in self._invitations if each.open] + [invited]
        who = "Somebody" if invited.by is None else str(invited.by)
        about = f", about: {invited.subject}" if invited.subject else ""
        self._notice(
            f"{who} asks you into {invited.room}{about}. "
            "/accept goes there and leaves this room, /decline says no."
        )

    def _refresh(self) -> None:
        """Show what goes on at the moment."""
        nickname = self._stay.nickname
        where = self._stay.room.removeprefix("sip:") + (f" as {nickname}" if nickname else "")
        parts = [where, self._stay.about, self._stay.activity]
        parts += [progress.bar for progress in self._transfers]
        text = "  |  ".join(visible(part) for part in parts if part)
        self._console.status([("class:bottom-toolbar", text)])

    # From the console.

    def _leave(self) -> None:
        if not self._over.called:
            self._over.callback(None)

    def _line_typed(self, line: str) -> Deferred[None]:
        action, text = read_line(line)
        if self._over.called or action is Action.NOTHING:
            return succeed(None)
        if action is Action.SAY:
            return self._say(text, None)
        return self._commands[action](text) or succeed(None)

    def _edited(self, line: str) -> None:
        # Who types a command says nothing.
        if line.strip() and (not line.startswith("/") or line.startswith("//")):
            self._stay.chat.typing()
        elif not line:
            self._stay.chat.stop_typing()

    def _complete(self, line: str) -> tuple[int, list[str]]:
        return complete(line, self._stay.people.names(), self._stay.file_names())

    # What is said.

    def _say(self, text: str, to: Person | None) -> Deferred[None]:
        chat, view = self._stay.chat, self._stay.view
        self._console.show_own(view.own(text, None if to is None else view.label(to)))
        sending = chat.send(text) if to is None else chat.send_private(to.uri, text)
        excerpt = text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]}..."
        done = self._attempt(sending, f"Not delivered: {excerpt}")
        self._sending.add(done)
        return done.addCallback(lambda _: self._sending.discard(done))

    def _whisper(self, text: str) -> Deferred[None] | None:
        name, said = first_word(text)
        if not said:
            return self._wrong("Whom to tell what? /msg bob hello")
        person = self._named(name)
        return None if person is None else self._say(said, person)

    def _use_nickname(self, name: str) -> Deferred[None]:
        stay = self._stay

        def granted(_: None) -> None:
            stay.view.rename(name or self._agent.display_name)
            stay.nickname = name
            self._refresh()
            self._notice(f"You are called {name} now." if name else "You have no nickname now.")

        name = name.strip()
        return self._attempt(stay.chat.use_nickname(name), "No nickname", granted)

    # Files.

    def _send_file(self, text: str) -> Deferred[None] | None:
        if not text.strip():
            return self._wrong("Which file? /send photo.jpg")
        path = Path(text.strip()).expanduser()
        if not path.is_file():
            return self._wrong(f"There is no file {path}")
        progress = self._progress(path.name)
        return self._transfer(
            self._stay.chat.send_file(path, progress),
            progress,
            f"{path.name} was not given",
            f"{path.name} was given to the room.",
        )

    def _fetch_file(self, text: str) -> Deferred[None] | None:
        # The name of a file may have blanks, and so may a path.
        name, to = text.strip(), ""
        selector = self._stay.file(name) if name else None
        if selector is None:
            name, to = first_word(text)
            selector = self._stay.file(name) if name else None
        if not name:
            return self._wrong("Which file? /files shows those that you were told of")
        if selector is None and name.isdigit():
            return self._wrong(f"You were told of no file {name}. /files shows of which")
        if selector is None:
            # From before one came, perhaps: the room knows.
            selector = FileSelector(name)
        path = Path(to).expanduser() if to else self._directory
        if path.is_dir():
            path /= safe_name(selector.name)
        if path.exists():
            return self._wrong(f"{path} is there already: name another place, /get {name} PATH")
        progress = self._progress(path.name)
        return self._transfer(
            self._stay.chat.fetch_file(selector, path, progress),
            progress,
            f"{selector.name or path.name} was not fetched",
            f"{path} is there.",
        )

    def _progress(self, name: str) -> Progress:
        def changed(progress: Progress) -> None:
            if in_lines:
                self._notice(progress.line)
            else:
                self._refresh()

        in_lines = not self._console.has_status
        return Progress(name, changed, self._seconds, in_lines)

    def _transfer(
        self, passing: Deferred[Any], progress: Progress, failed: str, done: str
    ) -> Deferred[None]:
        self._transfers[progress] = passing
        self._refresh()

        def over(result: Any) -> Any:
            del self._transfers[progress]
            self._refresh()
            return result

        passing.addBoth(over)
        return self._attempt(passing, failed, lambda _: self._notice(done))

    # Others.

    def _invite(self, text: str) -> Deferred[None] | None:
        who = text.strip()
        if not who:
            return self._wrong("Whom? /invite sip:bob@example.com")
        person = self._named(who)
        if person is None:
            return None

        def accepted(outcome: Fragment | None) -> None:
            if outcome is not None:
                self._notice(f"{person} has accepted.")

        def left_first(failure: Failure) -> None:
            self._inviting.discard(asking)
            if not self._over.called:
                failure.raiseException()

        self._notice(f"{person} is being asked in.")
        asking = self._stay.chat.invite(person.uri)
        self._inviting.add(asking)
        asking.addErrback(left_first)
        self._attempt(asking, f"{person} does not come", accepted)
        # Nobody waits for an answer that may take minutes.
        return None

    def _remove(self, text: str) -> Deferred[None] | None:
        name = first_word(text)[0]
        if not name:
            return self._wrong("Whom? /kick bob")
        person = self._named(name)
        if person is None:
            return None
        return self._attempt(
            self._stay.chat.remove(person.uri),
            f"{person} was not removed",
            lambda _: self._notice(f"{person} was removed."),
        )

    def _mute(self, text: str, muted: bool) -> Deferred[None] | None:
        name = first_word(text)[0]
        if not name:
            return self._wrong(f"Whom? {'/mute' if muted else '/unmute'} bob")
        person = self._named(name)
        if person is None:
            return None
        done = self._stay.chat.mute(person.uri, muted)
        return self._attempt(done, f"{person} was not {'muted' if muted else 'unmuted'}")

    def _change_subject(self, text: str) -> Deferred[None] | None:
        return self._attempt(
            self._stay.chat.change_subject(text.strip()),
            "The subject was not changed",
            lambda _: self._notice(
                f"The subject is: {text.strip()}"
                if text.strip()
                else "There is no subject any more."
            ),
        )

    def _accept(self, _: str) -> Deferred[None] | None:
        invited = self._invitation()
        if invited is None:
            return None
        stay = self._stay_in(invited.room)

        def joined(chat: Chat) -> None:
            before, self._stay = self._stay, stay
            stay.chat = chat
            if self._over.called:
                chat.leave()
                return
            before.chat.leave()
            self._entered(stay)

        joining = invited.accept(tls=self._agent.tls, **stay.listening)
        return self._attempt(joining, f"You are not let into {invited.room}", joined)

    def _decline(self, _: str) -> None:
        invited = self._invitation()
        if invited is not None:
            invited.decline()
            self._notice(f"You have declined to come to {invited.room}.")

    def _invitation(self) -> Invited | None:
        """The last one that is open."""
        still_open = [each for each in self._invitations if each.open]
        if not still_open:
            self._wrong("Nobody has asked you into another room, or not lately.")
            return None
        return still_open[-1]

    # What they share.

    def _named(self, name: str) -> Person | None:
        try:
            return self._stay.people.named(name)
        except UnknownPerson as error:
            self._wrong(str(error))
            return None

    def _unknown(self, command: str) -> None:
        self._wrong(f"There is no {command} here. /help shows what there is.")

    def _attempt(
        self, doing: Deferred[Any], failed: str, done: Callable[[Any], None] = lambda _: None
    ) -> Deferred[None]:
        """Say what became of something; the Deferred given back never fails."""
        settled: Deferred[None] = Deferred()

        def not_done(failure: Failure) -> None:
            failure.trap(*_FAILURES)
            self._failed += 1
            self._notice(f"{failed} ({_why(failure)})", "error")

        def over(result: Any) -> Any:
            settled.callback(None)
            return result

        doing.addCallbacks(done, not_done)
        doing.addBoth(over)
        return settled

    def _wrong(self, text: str) -> Deferred[None]:
        self._notice(text, "error")
        return succeed(None)

    def _notice(self, text: str, style: str = "notice") -> None:
        self._console.notice(self._stay.view.notice(text, style))


def _why(failure: Failure) -> str:
    error = failure.value
    if isinstance(error, CancelledError):
        return "broken off"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return failure.getErrorMessage()
