"""What processes consist of that have not both focus and server."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from msrpconf.config import Config
from msrpconf.services.apart import FocusApart, ServerApart, make_apart

reactor: Any = import_module("twisted.internet.reactor")

UNIX = "unix:/tmp/msrpconf-not-there.sock"
FOCUS = (
    '[sip]\nlisten = ["udp:127.0.0.1:0"]\n{sip}[focus]\n'
    f'[dispatcher]\nname = "focus-1"\nservers = ["{UNIX}"]\n'
)
DATABASE = '[database]\nurl = "sqlite:///msrpconf.sqlite"\n'


class ApartTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def config(self, text: str) -> Config:
        config = Config.parse(text, str(self.directory / "x.toml"))
        config.check()
        return config

    def focus(self, text: str, sip: str = "") -> FocusApart:
        service = make_apart(self.config(FOCUS.format(sip=sip) + text), reactor)
        assert isinstance(service, FocusApart)
        return service

    async def runs(self, service: Any) -> None:
        """It starts, listens, and ends."""
        await service.startService()
        self.assertNotEqual(service.listening, [])
        await service.stopService()

    async def test_a_focus(self) -> None:
        service = self.focus("")
        assert service.dispatcher is not None
        self.assertIsNone(service.dispatcher.claims)
        self.assertIs(service.focus.focus.channel, service.dispatcher)
        await self.runs(service)

    async def test_a_focus_that_shares_servers_with_others(self) -> None:
        service = self.focus(DATABASE)
        assert service.dispatcher is not None
        self.assertIsNotNone(service.dispatcher.claims)
        self.assertIsNone(service.focus.focus.authentication)
        await self.runs(service)
        self.assertTrue((self.directory / "msrpconf.sqlite").exists())

    async def test_a_focus_that_asks_for_passwords(self) -> None:
        service = self.focus(DATABASE, 'authenticate = true\nrealm = "example.com"\n')
        self.assertIsNotNone(service.focus.focus.authentication)
        await self.runs(service)

    async def test_a_server(self) -> None:
        path = f"unix:/tmp/msrpconf-{id(self):x}.sock"
        text = (
            f'[server]\nname = "east"\nlisten = ["tcp:127.0.0.1:0"]\ncontrol = "{path}"\n{DATABASE}'
            '[focus]\npresence = "sip:presence.example.com"\n[management]\nlisten = "127.0.0.1:0"\n'
        )
        config = Config.parse(text, str(self.directory / "x.toml")).only("server", "management")
        config.check()
        service = make_apart(config, reactor)
        assert isinstance(service, ServerApart)
        self.assertIsNotNone(service.publisher)
        self.assertIsNotNone(service.documents)
        self.assertIs(service.server.control.channel, None)
        await service.startService()
        self.assertIs(service.server.control.channel, service.links)
        self.assertIn(f"control {path}", service.listening)
        reloaded = await service.reload()
        self.assertEqual(reloaded.static_rooms, 0)
        await service.stopService()

    def test_stopping_what_has_not_started(self) -> Deferred[None]:
        return self.focus("").stopService()
