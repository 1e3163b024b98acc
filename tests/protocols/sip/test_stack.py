"""Two user agents on all the layers: a session begins and ends, over each transport."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.headers import NameAddr
from msrpconf.protocols.sip.locate import locate
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.transaction import (
    ServerTransaction,
    TransactionLayer,
    new_call_id,
    new_tag,
)
from msrpconf.protocols.sip.transport import TransportLayer
from msrpconf.protocols.sip.uri import parse_uri
from tests.protocols.sip.fakes import make_request
from tests.protocols.sip.peers import TransportTestCase, reactor


class Server:
    """Answers INVITE and BYE."""

    def __init__(self) -> None:
        self.dialogs: dict[tuple[str, str, str | None], Dialog] = {}
        self.acknowledged: Deferred[Flow] = Deferred()
        self.transport = TransportLayer(reactor)
        self.layer = TransactionLayer(
            reactor, self.transport, on_request=self.requested, on_ack=self.on_ack
        )
        self.transport.on_message = self.layer.receive
        self.transport.on_flow_lost = self.layer.flow_lost

    def requested(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if request.method == "INVITE":
            self.invited(transaction)
        elif request.method == "BYE":
            known = self.dialogs.pop(
                (request.call_id, request.to.tag or "", request.from_.tag), None
            )
            transaction.answer(481 if known is None else 200)
        else:
            transaction.answer(405)

    def invited(self, transaction: ServerTransaction) -> None:
        dialog = Dialog.from_request(transaction.request, transaction.tag)
        self.dialogs[dialog.id] = dialog
        flow = transaction.flow
        here = self.transport.local_address(flow.transport, flow.remote[0])
        contact = f"<sip:room@{here.sent_by};transport={here.transport}>;isfocus"
        transaction.answer(180)
        transaction.answer(200, headers=[("Contact", contact)], body=b"v=0\r\n")

    def on_ack(self, ack: Request, flow: Flow) -> None:
        self.acknowledged.callback(flow)


class Client:
    """Joins a room."""

    def __init__(self) -> None:
        self.transport = TransportLayer(reactor)
        self.layer = TransactionLayer(
            reactor,
            self.transport,
            on_request=lambda transaction: transaction.refuse(501),
            on_ack=lambda ack, flow: None,
        )
        self.transport.on_message = self.layer.receive
        self.transport.on_flow_lost = self.layer.flow_lost

    async def join(self, room: str) -> tuple[Dialog, Response]:
        uri = parse_uri(room)
        [target] = await locate(reactor, uri, usable=self.transport.can_reach)
        here = self.transport.local_address(target.transport, target.host)
        contact = f"<sip:alice@{here.sent_by};transport={here.transport}>"
        headers = [
            ("From", str(NameAddr(parse_uri("sip:alice@example.com")).with_tag(new_tag()))),
            ("To", f"<{room}>"),
            ("Call-ID", new_call_id()),
            ("CSeq", "1 INVITE"),
            ("Contact", contact),
        ]
        invite = Request("INVITE", uri, Headers(headers))
        response = await self.layer.request(invite, target).when_final()
        dialog = Dialog.from_response(invite, response)
        [hop] = await locate(reactor, dialog.next_hop)
        await self.layer.send_ack(dialog.ack(invite.cseq.number), hop)
        return dialog, response

    async def leave(self, dialog: Dialog) -> int:
        _, bye = dialog.request("BYE")
        [hop] = await locate(reactor, dialog.next_hop)
        return (await self.layer.request(bye, hop).when_final()).status


class SessionTests(TransportTestCase):
    async def session(self, server_at: str, client_at: str) -> None:
        server, client = Server(), Client()
        for element in (server, client):
            self.addCleanup(element.transport.stop)
            self.addCleanup(element.layer.stop)
        here = await server.transport.listen(Address.parse(server_at))
        await client.transport.listen(Address.parse(client_at))
        dialog, response = await client.join(f"sip:{here.sent_by};transport={here.transport}")
        self.assertEqual((response.status, response.body), (200, b"v=0\r\n"))
        flow = await server.acknowledged
        self.assertEqual(flow.transport, here.transport)
        [known] = server.dialogs.values()
        self.assertEqual(known.id, (dialog.call_id, dialog.remote_tag, dialog.local_tag))
        self.assertEqual(await client.leave(dialog), 200)
        self.assertEqual(await client.leave(dialog), 481)

    async def test_udp(self) -> None:
        await self.session("udp:127.0.0.1:0", "udp:127.0.0.1:0")

    async def test_udp_ipv6(self) -> None:
        await self.session("udp:[::1]:0", "udp:[::1]:0")

    async def test_tcp(self) -> None:
        await self.session("tcp:127.0.0.1:0", "tcp:127.0.0.1:0")

    async def test_tcp_ipv6(self) -> None:
        await self.session("tcp:[::1]:0", "tcp:[::1]:0")


class LostConnectionTests(TransportTestCase):
    """RFC 3261 section 17.1.4: no response comes by a connection that is gone."""

    async def test_a_request_without_a_response_fails_at_once(self) -> None:
        client, server = Client(), self.tcp_server()
        self.addCleanup(client.transport.stop)
        self.addCleanup(client.layer.stop)
        for method in ("INVITE", "OPTIONS"):
            request = make_request(method)
            request.headers.remove("Via")
            transaction = client.layer.request(request, server.address)
            answered = transaction.when_final()
            peer = await server.next()
            await peer.next()
            peer.wire.loseConnection()
            self.assertEqual((await answered).status, 503)
            self.assertEqual(
                str(transaction.error),
                f"{server.address}: the connection was lost before an answer",
            )
