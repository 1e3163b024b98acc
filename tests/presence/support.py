"""A notifier without sockets: rooms are counters, NOTIFYs go to a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.identity import Identity
from msrpconf.conference.participant import Participant
from msrpconf.presence.notifier import Notifier
from msrpconf.presence.settings import NotifierSettings
from msrpconf.presence.subscribing import Lifetimes, Subscribing
from msrpconf.presence.watching import Decision, Package
from msrpconf.protocols.sip.message import Request, Response
from tests.conference.support import request

ROOM = "sip:lobby@conf.example.com"
DOCUMENT = "application/conference-info+xml"


@frozen
class News:
    """Something that has happened, named by letters."""

    letters: str = ""

    def then(self, later: News) -> News:
        return News(self.letters + later.letters)


@define
class Diary:
    """A room of which everything that has happened is the state."""

    uri: str = ROOM
    letters: str = ""
    made: list[str] = field(factory=list)
    """The documents that were made, without their versions."""

    def full(self, version: int) -> bytes:
        return self._document("full", self.letters, version) + b" " * 20

    def partial(self, change: News, version: int) -> bytes:
        return self._document("partial", change.letters, version)

    def summary(self, version: int) -> bytes:
        return self._document("summary", str(len(self.letters)), version)

    def _document(self, state: str, text: str, version: int) -> bytes:
        self.made.append(f"{state} {text}")
        return f'<diary version="{version}">{state} {text}</diary>'.encode()


def blank(what: str) -> Callable[[str, int], bytes]:
    return lambda uri, version: f'<diary version="{version}">{what} {uri}</diary>'.encode()


class NotifierTestCase(SynchronousTestCase):
    """One room, `diary`, which anybody may watch but for whom `decisions` says otherwise."""

    settings = NotifierSettings(interval=1.0)
    lifetimes = Lifetimes()

    def setUp(self) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        observer: Any = self._observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.sent: list[tuple[Request, Deferred[Response], Callable[[], Request]]] = []
        self.answers = True
        """Whether watchers answer at once."""
        self.diary = Diary()
        self.rooms = {ROOM: self.diary}
        self.decisions: dict[str, Decision] = {}
        self.participants: list[Participant] = []
        self.notifier = Notifier(self.clock, self.send, self.settings)
        self.addCleanup(self.notifier.close)
        package = Package(
            "conference",
            DOCUMENT,
            find=self.rooms.get,
            decide=lambda _, user: self.decisions.get(user.key, Decision.ALLOW),
            empty=blank("empty"),
            nothing=News(),
            ended=blank("ended"),
        )
        self.subscribing = Subscribing(
            self.clock,
            self.notifier,
            {"conference": package},
            self.participant,
            self.lifetimes,
        )

    def _observe(self, event: LogEvent) -> None:
        if event.get("log_namespace", "").startswith("msrpconf"):
            self.lines.append(formatEvent(event))

    def participant(self, request: Request) -> Participant | None:
        dialog = request.call_id, request.to.tag, request.from_.tag
        return next((each for each in self.participants if each.dialog.id == dialog), None)

    def send(self, notify: Request, flow: str, small: Callable[[], Request]) -> Deferred[Response]:
        answer: Deferred[Response] = Deferred()
        self.sent.append((notify, answer, small))
        if self.answers:
            answer.callback(notify.response(200))
        return answer

    def happens(self, letters: str) -> None:
        """Something happens in the room."""
        self.diary.letters += letters
        self.notifier.changed("conference", ROOM, self.diary, News(letters))

    def ends(self) -> None:
        """The room ends."""
        del self.rooms[ROOM]
        self.notifier.changed("conference", ROOM, self.diary, None)

    def seconds(self, seconds: float) -> None:
        self.clock.pump([0.125] * round(seconds * 8))

    def soon(self) -> None:
        """What is due now is done."""
        self.clock.pump([0, 0, 0, 0])

    def told(self) -> list[str]:
        """What the NOTIFYs since the last call say: state, version and text."""
        told = [_said(notify) for notify, _, _ in self.sent]
        self.sent = [each for each in self.sent if not each[1].called]
        return told

    def answer(self, status: int = 200, *headers: tuple[str, str]) -> None:
        """Answer the oldest NOTIFY that waits."""
        for notify, answer, _ in self.sent:
            if not answer.called:
                answer.callback(notify.response(status, headers=headers))
                return
        raise AssertionError("no NOTIFY waits for an answer")


class Watcher:
    """Somebody who watches the room, in a dialog of their own."""

    def __init__(self, case: NotifierTestCase, name: str = "bob") -> None:
        self.case = case
        self.name = name
        self.to = f"<{ROOM}>"
        self.cseq = 0

    def subscribe(
        self,
        *headers: tuple[str, str],
        expires: int | None = 3600,
        event: str = "conference",
        contact: str | None = None,
        key: str = ROOM,
    ) -> Any:
        """Send a SUBSCRIBE; give the response, or the refusal."""
        self.cseq += 1
        fields = [("Event", event), ("Contact", contact or f"<sip:{self.name}@192.0.2.9>")]
        if expires is not None:
            fields.append(("Expires", str(expires)))
        answer = self.case.subscribing.handle(
            request(
                "SUBSCRIBE",
                ROOM,
                from_=f"<sip:{self.name}@example.com>;tag={self.name}",
                to=self.to,
                call_id=self.name,
                cseq=self.cseq,
                headers=(*fields, *headers),
            ),
            key,
            "",
            f"<{ROOM}>;isfocus",
        )
        if isinstance(answer, Response):
            self.to = answer.headers.get("To") or self.to
        return answer


def _said(notify: Request) -> str:
    """A NOTIFY in short: who gets it, its Subscription-State, its document."""
    state = notify.headers.get("Subscription-State") or ""
    body = notify.body.decode()
    if body:
        version = body.partition('version="')[2].partition('"')[0]
        body = f" {version}: " + body.partition(">")[2].partition("</diary>")[0].strip()
    name = notify.to.uri
    return f"{str(name).partition(':')[2].partition('@')[0]} {state}{body}"


def somebody(name: str = "bob") -> Identity:
    uri = f"sip:{name}@example.com"
    return Identity(uri, None, (uri,))
