"""Links between servers and dispatchers on loopback: who gets one, and what the logs say."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.settings import ServerSettings
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_link import LinkSettings
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.tls import Credentials, TlsError
from msrpconf.protocols.tls_files import PemFiles
from msrpconf.services.dispatcher import DispatcherService
from msrpconf.services.dispatcher_end import DispatcherEnd
from msrpconf.services.dispatchers import DispatcherLinks
from msrpconf.services.focus_links import FocusLinks
from tests.certificates import issue, write
from tests.services.support import sip

reactor: Any = installed

AUTHORITY = issue("our authority", authority=True)
OTHER = issue("another authority", authority=True)

Story = Generator[Deferred[Any], Any, None]


class ChannelTestCase(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.lines: list[str] = []
        self._waiting: list[tuple[str, Deferred[str]]] = []
        observer: Any = self._observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _observe(self, event: Any) -> None:
        line = formatEvent(event)
        self.lines.append(line)
        for each in list(self._waiting):
            if each[0] in line:
                self._waiting.remove(each)
                reactor.callLater(0, each[1].callback, line)

    def logged(self, text: str) -> Deferred[str]:
        """The first line that has `text`, when it is there."""
        found: Deferred[str] = Deferred()
        for line in self.lines:
            if text in line:
                found.callback(line)
                return found
        self._waiting.append((text, found))
        return found.addTimeout(
            10, reactor, onTimeoutCancel=lambda *_: self.fail(f"no {text!r}: {self.shown}")
        )

    @property
    def shown(self) -> str:
        return "".join(f"\n{line[:200]}" for line in self.lines)

    def files(self, name: str, ours: Credentials, trusted: Credentials) -> PemFiles:
        """Write certificates into files."""
        mine = write(ours, self.directory, name)
        authority = write(trusted, self.directory, f"{name}-ca")
        return PemFiles(mine.certificate, mine.private_key, authority.certificate)

    def server(
        self,
        certificate: Credentials | None = None,
        trusted: Credentials = AUTHORITY,
        names: tuple[str, ...] = ("focus-1",),
        address: str = "tls:127.0.0.1:0",
    ) -> ChannelAddress:
        """Start a server's end; its address."""
        control = ConferenceControl(
            ConferenceRegistry(reactor), reactor, ServerSettings(name="east"), lambda *_: None
        )
        ours = certificate or issue("127.0.0.1", issuer=AUTHORITY)
        self.server_files = self.files("server", ours, trusted)
        where = ChannelAddress.parse(address)
        tls = None if where.path else ChannelTls(self.server_files)
        self.east = DispatcherLinks(reactor, control, where, names, tls)
        self.east.startService()
        self.addCleanup(self.east.stopService)
        return ChannelAddress.parse(self.east.listening)

    def dispatcher(
        self,
        address: ChannelAddress,
        certificate: Credentials | None = None,
        trusted: Credentials = AUTHORITY,
        name: str = "focus-1",
    ) -> DispatcherService:
        """Start a dispatcher that connects there."""
        ours = certificate or issue("focus-1", issuer=AUTHORITY)
        tls = ChannelTls(self.files("focus", ours, trusted))
        service = DispatcherService(
            reactor, name, [address], self.to_focus, tls=tls, settings=LinkSettings(greeting=3)
        )
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def to_focus(self, request: Request) -> Response:
        return request.response(202)


class FocusTests(ChannelTestCase):
    """A focus and a dispatcher by itself."""

    def begin(self, certificate: Credentials, host: str = "127.0.0.1") -> None:
        """Start both; the dispatcher's certificate is for `host`."""
        ours = ChannelTls(self.files("dispatcher", issue(host, issuer=AUTHORITY), AUTHORITY))
        address = ChannelAddress.parse("tls:127.0.0.1:0")
        self.focuses = FocusLinks(reactor, "d", address, ("focus-1", "focus-2"), ours)
        self.focuses.channel = self
        self.focuses.startService()
        self.addCleanup(self.focuses.stopService)
        self.end = DispatcherEnd(
            reactor,
            "focus-1",
            ChannelAddress.parse(self.focuses.listening),
            self.to_focus,
            ChannelTls(self.files("focus", certificate, AUTHORITY)),
        )
        self.end.start()
        self.addCleanup(self.end.stop, "the test ends")

    def request(self, message: Request) -> Deferred[Response]:
        return succeed(message.response(202))

    @inlineCallbacks
    def test_both_have_the_right_certificates(self) -> Story:
        self.begin(issue("focus-1", issuer=AUTHORITY))
        yield self.logged("focus focus-1 at 127.0.0.1 connected")
        yield self.logged("dispatcher d at tls:127.0.0.1")
        answer = yield self.end.request(sip("OPTIONS"))
        self.assertEqual(answer.status, 202)
        answer = yield self.focuses.request(sip("BYE", to_tag="x"))
        self.assertEqual(answer.status, 202)

    @inlineCallbacks
    def test_a_focus_that_is_none(self) -> Story:
        self.begin(issue("chat-1", issuer=AUTHORITY))
        why = "403 its certificate is for none of the focuses, focus-1, focus-2"
        yield self.logged(f"refused: a channel from 127.0.0.1: refused: {why}")
        yield self.logged(f"it refused us: {why}; trying again")

    @inlineCallbacks
    def test_a_focus_that_says_it_is_another(self) -> Story:
        self.begin(issue("focus-2", issuer=AUTHORITY))
        yield self.logged("403 its certificate is not for focus-1, or that is no focus")

    @inlineCallbacks
    def test_a_dispatcher_that_is_another_host(self) -> Story:
        self.begin(issue("focus-1", issuer=AUTHORITY), "d.example.com")
        yield self.logged("its certificate is not for 127.0.0.1; trying again")


class TlsTests(ChannelTestCase):
    @inlineCallbacks
    def test_both_have_the_right_certificates(self) -> Story:
        focus = self.dispatcher(self.server())
        yield self.logged("dispatcher focus-1 at 127.0.0.1 connected")
        yield self.logged("server east has 0 rooms and 0 calls")
        answer = yield focus.request(sip("OPTIONS"))
        self.assertEqual(answer.status, 200)
        answer = yield self.east.request(sip("BYE", to_tag="x"))
        self.assertEqual(answer.status, 202)
        link = focus.links["east"]
        transport: Any = link.transport
        self.assertIn(transport.getHandle().get_protocol_version_name(), {"TLSv1.3", "TLSv1.2"})

    @inlineCallbacks
    def test_a_dispatcher_of_another_authority(self) -> Story:
        self.dispatcher(self.server(), issue("focus-1", issuer=OTHER))
        yield self.logged("refused: a channel from 127.0.0.1: its certificate is signed by none")
        # In TLS 1.3 the dispatcher was connected before it was refused.
        yield self.logged("it did not accept our certificate")
        self.assertEqual(self.east.links, {})

    @inlineCallbacks
    def test_a_server_of_another_authority(self) -> Story:
        self.dispatcher(self.server(issue("127.0.0.1", issuer=OTHER)))
        yield self.logged("its certificate is signed by none of our authorities; trying again")
        yield self.logged("refused: a channel from 127.0.0.1: it did not accept our certificate")

    @inlineCallbacks
    def test_certificates_that_have_expired(self) -> Story:
        self.dispatcher(self.server(), issue("focus-1", issuer=AUTHORITY, expired=True))
        yield self.logged("refused: a channel from 127.0.0.1: its certificate has expired")
        yield self.logged("it did not accept our certificate")

    @inlineCallbacks
    def test_a_server_whose_certificate_has_expired(self) -> Story:
        self.dispatcher(self.server(issue("127.0.0.1", issuer=AUTHORITY, expired=True)))
        yield self.logged(": its certificate has expired; trying again")

    @inlineCallbacks
    def test_a_server_that_is_another_host(self) -> Story:
        self.dispatcher(self.server(issue("chat-2.example.com", issuer=AUTHORITY)))
        yield self.logged("its certificate is not for 127.0.0.1; trying again")
        yield self.logged("it refused us: 403 its certificate is not for 127.0.0.1")

    @inlineCallbacks
    def test_a_dispatcher_that_is_none(self) -> Story:
        self.dispatcher(self.server(), issue("chat-2", issuer=AUTHORITY))
        why = "403 its certificate is for none of the dispatchers, focus-1"
        yield self.logged(f"refused: a channel from 127.0.0.1: refused: {why}")
        yield self.logged(f"it refused us: {why}; trying again")

    @inlineCallbacks
    def test_a_dispatcher_that_says_it_is_another(self) -> Story:
        address = self.server(names=("focus-1", "focus-2"))
        self.dispatcher(address, issue("focus-2", issuer=AUTHORITY), name="focus-1")
        yield self.logged("403 its certificate is not for focus-1")

    @inlineCallbacks
    def test_plain_octets(self) -> Story:
        address = self.server()
        endpoint = TCP4ClientEndpoint(reactor, address.host, address.port)
        plain: Any = yield connectProtocol(endpoint, Protocol())
        plain.transport.write(b"HELLO channel:focus-1\r\nTransaction: 1\r\n\r\n")
        yield self.logged("refused: a channel from 127.0.0.1: it does not speak TLS")
        plain.transport.abortConnection()

    @inlineCallbacks
    def test_new_certificates_without_a_restart(self) -> Story:
        address = self.server(issue("127.0.0.1", issuer=OTHER))
        self.dispatcher(address)
        yield self.logged("its certificate is signed by none of our authorities; trying again")
        write(issue("127.0.0.1", issuer=AUTHORITY), self.directory, "server")
        yield self.logged("the channel's certificates were read again")
        yield self.logged("dispatcher focus-1 at 127.0.0.1 connected")

    def test_new_certificates_that_cannot_be_used(self) -> None:
        files = self.files("server", issue("a", issuer=AUTHORITY), AUTHORITY)
        tls = ChannelTls(files)
        assert files.certificate is not None
        before = tls.options()
        files.certificate.write_bytes(b"nothing")
        os.utime(files.certificate, (1, 1))
        self.assertIs(tls.options(), before)
        self.assertIn("server.pem has no certificate in PEM", self.lines[-1])
        self.assertIs(tls.options(), before)
        self.assertEqual(len([line for line in self.lines if "cannot be used" in line]), 1)

    def test_files_that_are_wrong_at_the_start(self) -> None:
        files = self.files("server", issue("a", issuer=AUTHORITY), AUTHORITY)
        write(issue("b"), self.directory, "other")
        for wrong, why in (
            (
                PemFiles(files.certificate, files.private_key, self.directory / "no"),
                "no cannot",
            ),
            (
                PemFiles(files.certificate, self.directory / "other.key", files.authorities),
                "is not the key",
            ),
        ):
            with self.assertRaisesRegex(TlsError, why):
                ChannelTls(wrong)


class UnixTests(ChannelTestCase):
    def path(self) -> str:
        return f"/tmp/msrpconf-{os.getpid()}-{id(self):x}.sock"

    @inlineCallbacks
    def test_a_unix_socket_needs_no_certificates(self) -> Story:
        focus = self.dispatcher(self.server(address=f"unix:{self.path()}"))
        yield self.logged("server east has 0 rooms and 0 calls")
        answer = yield focus.request(sip("OPTIONS"))
        self.assertEqual(answer.status, 200)
        self.assertEqual(os.stat(self.path()).st_mode & 0o777, 0o660)

    @inlineCallbacks
    def test_a_server_that_comes_later(self) -> Story:
        path = self.path()
        self.dispatcher(ChannelAddress(path=path))
        yield self.logged(f"no link to unix:{path}: ")
        self.server(address=f"unix:{path}")
        yield self.logged("server east has 0 rooms and 0 calls")

    @inlineCallbacks
    def test_so_many_connections(self) -> Story:
        address = self.server(address=f"unix:{self.path()}")
        assert address.path is not None
        clients = []
        for _ in range(65):
            endpoint = UNIXClientEndpoint(reactor, address.path)
            client: Any = yield connectProtocol(endpoint, Protocol())
            clients.append(client)
        yield self.logged("there are 64 connections")
        for client in clients:
            client.transport.abortConnection()
        yield deferLater(reactor, 0)
