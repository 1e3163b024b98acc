"""What processes consist of that have not both focus and server."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from msrpconf.config import Config
from msrpconf.services.apart import FocusApart, ServerApart, make_apart
from msrpconf.services.apart_dispatcher import DispatcherApart
from msrpconf.services.management.parts import Reloaded, ReloadError

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
        config = self.written(text).only("server", "management")
        config.check()
        service = make_apart(config, reactor)
        assert isinstance(service, ServerApart)
        self.assertIsNotNone(service.publisher)
        self.assertIsNotNone(service.documents)
        self.assertIs(service.server.control.channel, None)
        await service.startService()
        self.addCleanup(service.stopService)
        self.assertIs(service.server.control.channel, service.links)
        self.assertIn(f"control {path}", service.listening)
        reloaded = await service.reload()
        self.assertEqual(reloaded, Reloaded(static_rooms=0))
        more = '[server]\nmax_rooms = 7\ndispatchers = ["focus-2"]\nkeepalive = 9\n'
        # What is of no concern to a server is not told.
        others = "[conference]\nad_hoc = false\n[sip]\nmax_transactions = 5\n"
        self.written(text.replace("[server]\n", more) + others)
        reloaded = await service.reload()
        live = {"server.max_rooms", "server.dispatchers", "conference.ad_hoc"}
        self.assertEqual(set(reloaded.changed), live)
        self.assertEqual(reloaded.restart, ("server.keepalive",))
        self.assertEqual(service.links.hello().capacity, 7)
        self.assertEqual(service.links._names, ("focus-2",))
        self.assertFalse(service.server.control.settings.ad_hoc)
        (self.directory / "x.toml").write_text(f"{text}[sip]\nmax_transactions = -1\n")
        await self.assertFailure(service.reload(), ReloadError)
        self.assertEqual(service.links.hello().capacity, 7)

    def written(self, text: str) -> Config:
        """The configuration of a file that has this."""
        path = self.directory / "x.toml"
        path.write_text(text)
        return Config.load(path)

    async def test_servers_of_a_focus_that_change(self) -> None:
        text = FOCUS.format(sip="")
        service = make_apart(self.written(text), reactor)
        assert isinstance(service, FocusApart)
        assert service.dispatcher is not None
        await service.startService()
        other = UNIX.replace("not", "nor")
        self.written(text.replace(f'["{UNIX}"]', f'["{other}"]'))
        reloaded = await service.reload()
        self.assertEqual(reloaded.changed, ("dispatcher.servers",))
        self.assertEqual([str(end.address) for end in service.dispatcher.ends], [other])
        (self.directory / "x.toml").write_text("[focus]")
        error = await self.assertFailure(service.reload(), ReloadError)
        self.assertIn("[focus] alone runs no msrp-conference-server", str(error))
        self.assertEqual([str(end.address) for end in service.dispatcher.ends], [other])
        await service.stopService()

    async def test_a_dispatcher_whose_servers_and_focuses_change(self) -> None:
        listen = f"unix:/tmp/msrpconf-{id(self):x}.sock"
        text = f'[dispatcher]\nlisten = "{listen}"\nservers = ["{UNIX}"]\n'
        service = make_apart(self.written(text), reactor)
        assert isinstance(service, DispatcherApart)
        await service.startService()
        self.assertIn(f"dispatcher {listen}", service.listening)
        other = UNIX.replace("not", "nor")
        self.written(f'{text.replace(UNIX, other)}focuses = ["f1"]\n')
        reloaded = await service.reload()
        self.assertEqual(set(reloaded.changed), {"dispatcher.servers", "dispatcher.focuses"})
        self.assertEqual([str(end.address) for end in service.dispatcher.ends], [other])
        await service.stopService()

    def test_stopping_what_has_not_started(self) -> Deferred[None]:
        return self.focus("").stopService()
