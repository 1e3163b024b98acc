"""A help desk whose tickets are chat rooms: a Twisted web application with msrpconf inside.

    python helpdesk.py [--config msrpconf.toml] [--port 8000]

Its page has a form that opens a ticket. Each ticket has a room of its own, which the desk is
in, so that it can show what is said there and say something itself; whoever has a SIP client
with MSRP calls the room's address to talk about the ticket. Closing a ticket closes its room.
The same as JSON is at /tickets.json. The page is for who sits at this machine: it asks for no
password, and is served on loopback alone.
"""

import argparse
import json
from collections import deque
from datetime import datetime
from html import escape

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.util import redirectTo

from msrpconf import Config, ConfigError, make_service
from msrpconf.client import JoinError, SendError, UserAgent
from msrpconf.conference.operating import NotThere, close, find_room
from msrpconf.storage.errors import DatabaseError

MAX_TICKETS = 100
MAX_LINES = 200
MAX_TEXT = 2000

PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<body style="font-family: sans-serif; max-width: 40em; margin: 2em auto">{body}</body></html>
"""


class Refused(Exception):
    """What somebody asked for cannot be; the text says why, `status` is HTTP's."""

    def __init__(self, why, status=400):
        super().__init__(why)
        self.status = status


class Ticket:
    """One thing to help with, and the room in which people talk about it."""

    def __init__(self, number, title, room):
        self.number = number
        self.title = title
        self.room = room
        self.lines = deque(maxlen=MAX_LINES)
        self.chat = None

    def heard(self, message):
        if message.media_type == "text/plain":
            self.add(message.name or message.sender, message.text)

    def add(self, who, text):
        self.lines.append((f"{datetime.now():%H:%M}", who, text))


class HelpDesk:
    """The tickets, and the rooms of `service` that belong to them."""

    def __init__(self, service, reactor):
        self.service = service
        self.tickets = {}
        self._last = 0
        self._sip = service.focus.listening[0]
        self._agent = UserAgent(reactor, "sip:desk@localhost", display_name="Help desk")

    async def open(self, title):
        """A new ticket; the desk is the first in its room, and so its owner."""
        if not title or len(title) > MAX_TEXT:
            raise Refused(f"A ticket needs a title of at most {MAX_TEXT} characters")
        if len(self.tickets) >= MAX_TICKETS:
            raise Refused(f"There are {MAX_TICKETS} tickets open: close one first", 503)
        self._last += 1
        room = f"sip:ticket-{self._last}@{self._sip.sent_by};transport={self._sip.transport}"
        ticket = self.tickets[self._last] = Ticket(self._last, title, room)

        def ended(why):
            ticket.add("desk", why)
            self.tickets.pop(ticket.number, None)

        try:
            ticket.chat = await self._agent.join(
                room,
                on_message=ticket.heard,
                on_notice=ticket.heard,
                on_ended=ended,
                subject=title,
            )
        except JoinError as error:
            del self.tickets[ticket.number]
            raise Refused(f"The room did not begin: {error}", 502) from None
        return ticket

    async def say(self, ticket, text):
        """Say something in a ticket's room."""
        if not text.strip() or len(text) > MAX_TEXT:
            raise Refused(f"Say something of at most {MAX_TEXT} characters")
        try:
            await ticket.chat.send(text)
        except SendError as error:
            raise Refused(f"The room did not take it: {error}", 502) from None
        ticket.add("Help desk", text)

    def close(self, ticket):
        """Send everybody out of a ticket's room, and forget it."""
        self.tickets.pop(ticket.number, None)
        try:
            close(self.service.server.control, find_room(self.service.registry, ticket.room))
        except NotThere:
            pass  # everybody has left it

    def people(self, ticket):
        """Who is in a ticket's room, by the registry of the service."""
        try:
            room = find_room(self.service.registry, ticket.room)
        except NotThere:
            return []
        return [str(each.identity) for each in room.participants]

    def stop(self):
        return gatherResults([self._agent.stop(), self.service.stopService()])


class Answering(Resource):
    """A resource whose answers may take their time, and whose refusals have a reason."""

    isLeaf = True

    def __init__(self, answer):
        Resource.__init__(self)
        self._answer = answer

    def render(self, request):
        ensureDeferred(self._respond(request)).addErrback(request.processingFailed)
        return NOT_DONE_YET

    async def _respond(self, request):
        gone = []
        request.notifyFinish().addErrback(gone.append)
        try:
            body = await self._answer(request)
        except Refused as refused:
            request.setResponseCode(refused.status)
            body = page("Not done", f"<p>{escape(str(refused))}</p>")
        if not gone:
            request.write(body)
            request.finish()


def page(title, body):
    return PAGE.format(title=escape(title), body=body).encode()


def field(request, name):
    """What a form has in a field. Other sites' pages cannot fill in ours."""
    origin = request.getHeader("origin")
    if origin is not None and origin.partition("://")[2] != request.getHeader("host"):
        raise Refused("This form is not ours", 403)
    return request.args.get(name, [b""])[0].decode("utf-8", "replace")


def button(label, where, *inputs):
    fields = "".join(f'<input name="{each}" required>' for each in inputs)
    return f'<form method="post" action="{where}">{fields}<button>{label}</button></form>'


class Web:
    """The pages of a help desk."""

    def __init__(self, desk):
        self._desk = desk

    def site(self):
        root = Resource()
        root.putChild(b"", Answering(self.home))
        root.putChild(b"tickets.json", Answering(self.listed))
        root.putChild(b"tickets", Answering(self.ticket))
        return Site(root)

    async def home(self, request):
        if request.method == b"POST":
            ticket = await self._desk.open(field(request, b"title"))
            return redirectTo(b"/tickets/%d" % ticket.number, request)
        rows = "".join(
            f'<li><a href="/tickets/{each.number}">{escape(each.title)}</a>,'
            f" {len(self._desk.people(each))} there"
            for each in self._desk.tickets.values()
        )
        return page("Tickets", f"<h1>Tickets</h1><ul>{rows}</ul>{button('Open', '/', 'title')}")

    async def listed(self, request):
        request.setHeader("Content-Type", "application/json")
        tickets = [
            {
                "number": each.number,
                "title": each.title,
                "room": each.room,
                "people": self._desk.people(each),
                "said": [{"at": at, "who": who, "text": text} for at, who, text in each.lines],
            }
            for each in self._desk.tickets.values()
        ]
        return json.dumps({"tickets": tickets}).encode()

    async def ticket(self, request):
        number, *action = request.postpath or [b""]
        ticket = self._desk.tickets.get(int(number) if number.isdigit() else 0)
        if ticket is None or ticket.chat is None:
            raise Refused("There is no such ticket, or it has been closed", 404)
        here = f"/tickets/{ticket.number}"
        if request.method == b"POST":
            text = field(request, b"text")
            if action == [b"close"]:
                self._desk.close(ticket)
                return redirectTo(b"/", request)
            await self._desk.say(ticket, text)
            return redirectTo(here.encode(), request)
        people = ", ".join(map(escape, self._desk.people(ticket)))
        lines = "".join(
            f"<p>{at} <b>{escape(who)}</b>: {escape(text)}</p>" for at, who, text in ticket.lines
        )
        return page(
            ticket.title,
            f"<h1>{escape(ticket.title)}</h1><p>Call <code>{escape(ticket.room)}</code>."
            f" There: {people}</p>{lines}{button('Say', here, 'text')}"
            f"{button('Close', here + '/close')}<p><a href='/'>All tickets</a></p>",
        )


async def main(reactor, *arguments):
    parser = argparse.ArgumentParser(description="A help desk whose tickets are chat rooms")
    parser.add_argument("--config", help="msrpconf's configuration; without it, its defaults")
    parser.add_argument("--port", type=int, default=8000, help="of the web page, on loopback")
    asked = parser.parse_args(arguments)
    try:
        config = Config.load(asked.config)
        config.check()
        service = make_service(config, reactor)
        await service.startService()
    except (ConfigError, CannotListenError, DatabaseError) as error:
        raise SystemExit(f"helpdesk: {error}") from None
    desk = HelpDesk(service, reactor)
    reactor.addSystemEventTrigger("before", "shutdown", desk.stop)
    try:
        port = reactor.listenTCP(asked.port, Web(desk).site(), interface="127.0.0.1")
    except CannotListenError as error:
        raise SystemExit(f"helpdesk: {error}") from None
    print(f"help desk at http://127.0.0.1:{port.getHost().port}/", flush=True)
    await Deferred()  # until the process is asked to end


if __name__ == "__main__":
    import sys

    react(main, sys.argv[1:])
