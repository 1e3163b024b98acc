"""Kamailio and the focus by TLS alone: each believes the other by its certificate."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import SkipTest

from msrpconf.client import Invited
from tests.certificates import issue, write
from tests.interop.kamailio import ROOM, USERS, KamailioCase
from tests.interop.proxy import FOCUS, PROXY, free_ports
from tests.scenarios.embedded import joined

Story = Generator[Deferred[Any], Any, None]

KAMAILIO = """
enable_tls=yes
listen=tls:{proxy}:{port}
loadmodule "tls.so"
modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "certificate", "{directory}/{name}.pem")
modparam("tls", "private_key", "{directory}/{name}.key")
modparam("tls", "ca_list", "{directory}/ca.pem")
modparam("tls", "verify_certificate", 1)
modparam("tls", "require_certificate", 1)
"""

TABLES = """
[tls]
certificate = "focus.pem"
private_key = "focus.key"
authorities = "ca.pem"
"""


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """`text` with others in their place, each of which is there."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


class KamailioTlsCase(KamailioCase):
    """The focus believes who proves to be proxy.example.com, and no address."""

    tables = TABLES
    certificate_of_proxy = "proxy"

    def setUp(self) -> Any:
        if not any(Path("/usr/lib").glob("*/kamailio/modules/tls.so")):
            text = "Kamailio's TLS is missing: apt install kamailio-tls-modules"
            if os.environ.get("CI"):
                raise AssertionError(text)
            raise SkipTest(text)
        return super().setUp()

    def serve(self) -> Any:
        """Make the certificates, then start a server."""
        authority = issue("authority.example.com", authority=True)
        write(authority, self.directory, "ca")
        for name, names in (
            ("focus", (FOCUS,)),
            # What we connect to is an address, what we believe is a name.
            ("proxy", ("proxy.example.com", PROXY)),
            ("other", ("other.example.com", PROXY)),
        ):
            write(issue(*names, issuer=authority), self.directory, name)
        (self.tls_private,) = free_ports(PROXY)
        return super().serve()

    def focus_configuration(self) -> str:
        (self.tls_focus,) = free_ports(FOCUS)
        sip = f"{FOCUS}:{self.focus}"
        return replaced(
            super().focus_configuration(),
            (f'"tcp:{sip}"', f'"tcp:{sip}", "tls:{FOCUS}:{self.tls_focus}"'),
            (f'trusted = ["{PROXY}"]', 'trusted = ["tls:proxy.example.com"]'),
            (f"sip:{PROXY}:{self.private};lr", f"sip:{PROXY}:{self.tls_private};lr;transport=tls"),
        )

    def _set_up_proxy(self) -> None:
        super()._set_up_proxy()
        path = self.directory / "settings.cfg"
        text = replaced(
            path.read_text(),
            (f"sip:{FOCUS}:{self.focus}!", f"sip:{FOCUS}:{self.tls_focus};transport=tls!"),
            (f"!MY_PRIVATE_PORT!{self.private}!", f"!MY_PRIVATE_PORT!{self.tls_private}!"),
        )
        text += KAMAILIO.format(
            proxy=PROXY,
            port=self.tls_private,
            directory=self.directory,
            name=self.certificate_of_proxy,
        )
        path.write_text(text)


class TlsTests(KamailioTlsCase):
    @inlineCallbacks
    def test_all_of_it(self) -> Story:
        asked: Deferred[Invited] = Deferred()
        carol = self.agent("carol", on_invited=asked.callback)
        yield carol.register()
        alice, alice_hears = yield self.enter("alice")
        asking = alice.invite(f"sip:carol@{USERS}")
        chat = yield (yield asked).accept()
        self.assertEqual((yield asking).status, 200)
        yield chat.send("Here I am")
        self.assertEqual((yield alice_hears.next()).text, "Here I am")
        yield chat.leave()
        _, bob_hears = yield self.enter("bob")
        yield alice.remove(f"sip:bob@{USERS}")
        self.assertIn("Removed by alice", (yield bob_hears.ended))
        (bye,) = self.went("BYE")
        self.assertEqual((yield self.when_answered(bye)), 200)
        yield alice.leave()
        self.assertEqual({peer.split(":")[0] for _, peer, _ in self.traced}, {"tls"})


class OtherProxyTests(KamailioTlsCase):
    """A proxy of the same authority with another name is nobody."""

    certificate_of_proxy = "other"

    @inlineCallbacks
    def test_it_is_refused(self) -> Story:
        agent = self.agent("alice")
        yield agent.register()
        error = yield self.assertFailure(joined(agent, ROOM), Exception)
        self.assertEqual(error.status, 403)
        self.assertIn("whose certificate is for", error.reason)
        self.assertIn("'other.example.com'", error.reason)
