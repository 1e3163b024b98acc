"""An XCAP server of a whole process: its ports, its database, who may watch afterwards."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, readBody
from twisted.web.http_headers import Headers

from msrpconf.conference.identity import Identity
from msrpconf.conference.roles import Role, Roles
from msrpconf.conference.static import StaticRoom
from msrpconf.config import Config
from msrpconf.services.compose import ConferenceService
from msrpconf.xcap.rules import SubHandling
from tests.certificates import issue, write
from tests.services.xcap.support import AUTH_POLICY, INDEX, ROOM, basic
from tests.xcap.support import document, rule

reactor: Any = import_module("twisted.internet.reactor")

ALICE = Identity("sip:alice@example.com", None, ("sip:alice@example.com",))
BOB = Identity("sip:bob@example.com", None, ("sip:bob@example.com",))
FOR_BOB = document(rule('<identity><one id="sip:bob@example.com"/></identity>'))


class Body:
    """What a request carries."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.length = len(octets)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self.octets)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def stopProducing(self) -> None:
        pass

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass


class ServiceTests(TestCase):
    timeout = 60

    async def started(self, listen: str) -> ConferenceService:
        directory = Path(self.mktemp())
        directory.mkdir()
        write(issue("127.0.0.1"), directory)
        config = Config.parse(
            f"""
            [sip]
            listen = ["udp:127.0.0.1:0"]
            [focus]
            [server]
            listen = ["tcp:127.0.0.1:0"]
            [database]
            [tls]
            certificate = "server.pem"
            private_key = "server.key"
            [xcap]
            listen = {listen}
            [xcap.users]
            "sip:alice@example.com" = "secret"
            """,
            str(directory / "msrpconf.toml"),
        )
        config.check()
        self.service = ConferenceService(config, reactor)
        self.addCleanup(self.service.stopService)
        await self.service.startService()
        assert self.service.static_rooms is not None
        roles = Roles({"sip:alice@example.com": Role.OWNER})
        await self.service.static_rooms.create(StaticRoom(ROOM, roles=roles))
        return self.service

    @property
    def roots(self) -> list[str]:
        lines = self.service.listening
        return [each.removeprefix("xcap ") for each in lines if each.startswith("xcap ")]

    async def ask(
        self, agent: Agent, method: str, root: str, body: bytes = b""
    ) -> tuple[int, bytes]:
        url = root.removesuffix("/xcap-root") + INDEX
        headers = Headers(
            {"Authorization": [basic().partition(": ")[2]], "Content-Type": [AUTH_POLICY]}
        )
        producer: Any = Body(body) if body else None
        response: Any = await agent.request(method.encode(), url.encode(), headers, producer)
        return response.code, await readBody(response)

    async def test_an_owner_says_who_may_watch(self) -> None:
        service = await self.started('["tcp:127.0.0.1:0"]')
        (root,) = self.roots
        self.assertRegex(root, r"^http://127\.0\.0\.1:\d+/xcap-root$")
        agent = Agent(reactor)
        assert service.documents is not None
        rules = service.documents.rules
        changed: list[str] = []
        rules.on_change(changed.append)
        self.assertEqual((await self.ask(agent, "GET", root))[0], 404)
        self.assertEqual(await self.ask(agent, "PUT", root, FOR_BOB), (201, b""))
        self.assertEqual(await self.ask(agent, "GET", root), (200, FOR_BOB))
        self.assertEqual(
            [rules.decide(ROOM, each) for each in (ALICE, BOB)],
            [SubHandling.BLOCK, SubHandling.ALLOW],
        )
        self.assertEqual(changed[-1], ROOM)
        self.assertEqual((await self.ask(agent, "DELETE", root))[0], 200)
        self.assertIs(rules.decide(ROOM, ALICE), SubHandling.ALLOW)

    async def test_https(self) -> None:
        await self.started('["tls:127.0.0.1:0"]')
        (root,) = self.roots
        self.assertTrue(root.startswith("https://127.0.0.1:"))
        pem = (Path(self.service.config.source).parent / "server.pem").read_bytes()
        trust = trustRootFromCertificates([Certificate.loadPEM(pem)])
        agent = Agent(reactor, BrowserLikePolicyForHTTPS(trust))
        self.assertEqual((await self.ask(agent, "PUT", root, FOR_BOB))[0], 201)

    async def test_a_port_that_is_taken(self) -> None:
        service = await self.started('["tcp:127.0.0.1:0"]')
        port = self.roots[0].rpartition(":")[2].partition("/")[0]
        text = f'["tcp:127.0.0.1:{port}"]'
        with self.assertRaises(CannotListenError):
            await self.started(text)
        self.assertEqual(self.service.listening, [])
        await service.stopService()
        self.assertEqual(service.listening, [])
