"""People who send REFER, and what the room sends because of it."""

from __future__ import annotations

from msrpconf.conference.control import CONFERENCE
from msrpconf.conference.roles import Role
from msrpconf.protocols.multipart import Part, build_multipart
from msrpconf.protocols.resource_lists import RESOURCE_LISTS
from msrpconf.protocols.sip.headers import MediaType
from msrpconf.protocols.sip.message import Request, Response
from tests.conference.support import ROOM, Client, ControlTestCase, request


def resource_list(*entries: str) -> bytes:
    """A document that names `entries`: URIs, or whole elements."""
    inside = "".join(each if each.startswith("<") else f'<entry uri="{each}"/>' for each in entries)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>{inside}</list>'
        "</resource-lists>"
    ).encode()


class ReferTestCase(ControlTestCase):
    """Alice is the owner, as the first to join."""

    def refer(self, client: Client, refer_to: str, *headers: tuple[str, str]) -> Response:
        """A REFER in the dialog of `client`; the answer and what follows it are awaited."""
        answer = client.send("REFER", headers=(("Refer-To", refer_to), *headers))
        self.clock.advance(0)
        return answer

    def refer_from_outside(
        self,
        refer_to: str,
        *headers: tuple[str, str],
        from_: str = "<sip:alice@home.com>;tag=outside",
        room: str = ROOM,
        contact: str | None = "<sip:alice@alice.example.com:5070>",
    ) -> Response:
        """A REFER outside of any dialog."""
        contacts = () if contact is None else (("Contact", contact),)
        answer = self.control.handle(
            request(
                "REFER",
                room,
                from_=from_,
                to=f"<{room}>",
                call_id="outside@home.com",
                cseq=7,
                headers=(("Refer-To", refer_to), *contacts, (CONFERENCE, room), *headers),
            )
        )
        self.clock.advance(0)
        return answer

    def refer_list(self, client: Client, *entries: str) -> Response:
        """A REFER with a list, as RCS clients send it."""
        answer = client.send(
            "REFER",
            resource_list(*entries),
            content_type=RESOURCE_LISTS,
            headers=(
                ("Refer-To", "<cid:list@home.com>"),
                ("Require", "multiple-refer,norefersub"),
                ("Refer-Sub", "false"),
                ("Content-ID", "<list@home.com>"),
                ("Content-Disposition", "recipient-list"),
            ),
        )
        self.clock.advance(0)
        return answer

    def invite_with(self, client: Client, *entries: str) -> Response:
        """An INVITE with a list beside its offer."""
        content_type, body = build_multipart(
            [
                Part(MediaType("application", "sdp"), client.offer()),
                Part(
                    MediaType.parse(RESOURCE_LISTS),
                    resource_list(*entries),
                    (("Content-Disposition", "recipient-list"),),
                ),
            ]
        )
        return client.invite(body, content_type=str(content_type))

    def byes(self) -> list[Request]:
        """The BYEs that went out so far."""
        return [each for each in self.channel.requests if each.method == "BYE"]

    def told(self) -> list[tuple[str, str, str]]:
        """(Event, Subscription-State, first line of the body) of each NOTIFY; answers them."""
        told = []
        for message, answer in list(self.channel.sent):
            if message.method != "NOTIFY":
                continue
            self.channel.sent.remove((message, answer))
            headers = message.headers
            self.assertEqual(headers.get("Content-Type"), "message/sipfrag;version=2.0")
            told.append(
                (
                    headers.get("Event") or "",
                    headers.get("Subscription-State") or "",
                    message.body.decode().rstrip("\r\n"),
                )
            )
            answer.callback(message.response(200))
        return told

    def notify(
        self,
        invitation: Request,
        status: str,
        state: str = "terminated;reason=noresource",
        **changes: str,
    ) -> Response:
        """An invitee's NOTIFY in the dialog of our REFER."""
        return self.control.handle(
            request(
                "NOTIFY",
                ROOM,
                from_=f"{invitation.headers.get('To')};tag=invitee",
                to=changes.get("to", invitation.headers.get("From") or ""),
                call_id=invitation.call_id,
                cseq=1,
                headers=(
                    ("Event", changes.get("event", "refer")),
                    ("Subscription-State", state),
                ),
                body=f"SIP/2.0 {status}\r\n".encode(),
                content_type=changes.get("content_type", "message/sipfrag;version=2.0"),
            )
        )

    def answer_refers(self, status: int = 202, reason: str | None = None) -> list[Request]:
        """Answer the REFERs that went out since the last time; give them."""
        answered = []
        for message, answer in list(self.channel.sent):
            if message.method == "REFER":
                self.channel.sent.remove((message, answer))
                answered.append(message)
                answer.callback(message.response(status, reason))
        return answered

    def make(self, role: Role, user: str) -> None:
        """Give a user a role in the room."""
        self.room.roles = self.room.roles.assign((f"sip:{user}@home.com",), role)
