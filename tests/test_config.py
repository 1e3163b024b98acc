from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path

from attrs import astuple, fields
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.roles import Role
from msrpconf.config import Config, ConfigError
from msrpconf.protocols.channel_address import ChannelService
from msrpconf.protocols.channel_link import LinkSettings
from msrpconf.protocols.sip.flow import Address
from tests.certificates import issue, key_pem, write

EXAMPLE = Path(__file__).parent.parent / "examples" / "msrpconf.toml"


class LoadTests(SynchronousTestCase):
    def test_no_file_runs_everything_on_loopback(self) -> None:
        config = Config.load(None)
        self.assertEqual(config, Config())
        self.assertEqual(config.components, {"focus", "server", "management", "presence"})
        self.assertEqual(str(config.management.listen), "127.0.0.1:8080")
        self.assertIsNone(config.management_token)
        self.assertEqual(
            [str(address) for address in config.sip.listen],
            ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"],
        )
        self.assertEqual([str(address) for address in config.server.listen], ["tcp:127.0.0.1:2855"])
        self.assertEqual(config.sip.trusted, (ip_network("127.0.0.0/8"), ip_network("::1/128")))
        self.assertEqual(config.server.advertised_host, "127.0.0.1")
        config.check()

    def test_empty_file_is_the_default(self) -> None:
        self.assertEqual(Config.parse("", "x"), Config())

    def test_every_key(self) -> None:
        path = self.mktemp()
        write(issue("chat.example.com"), Path(path).parent)
        Path(path).write_text(
            """
            [sip]
            listen = ["udp:192.0.2.1:5060", "TCP:[2001:db8::1]:5062", "tls:192.0.2.1:5061"]
            domains = ["Conference.Example.com", "[2001:DB8::1]"]
            trusted = ["192.0.2.0/24", "2001:db8::1", "TLS:Proxy.example.com", "tls:[::0:1]"]
            require_certificate = true
            nameservers = ["192.0.2.53", "2001:db8::53", "127.0.0.1:5353", "[::1]:54"]
            contact = "address"
            address = "[2001:db8::1]"
            require = ["gruu", "timer"]
            max_transactions = 7
            [focus]
            ack_timeout = 1.5
            outbound_proxy = "sip:192.0.2.10:5080;transport=tcp"
            presence = "sip:192.0.2.11"
            publish_expires = 17
            [server]
            name = "east-1"
            listen = ["tcp:0.0.0.0:2855", "tls:0.0.0.0:2856"]
            address = "Chat.Example.com"
            keepalive = 0
            keepalive_timeout = 16
            msrp_timeout = 2
            grace = 0.5
            chunk_timeout = 3
            queue_octets = 4
            congested_timeout = 5
            max_rooms = 6
            files = "/srv/files"
            spool_octets = 0
            max_files_octets = 7
            [conference]
            ad_hoc = false
            max_participants = 8
            plain_text = false
            tls_only = true
            types = ["Text/Plain", "image/*"]
            max_message_octets = 9
            private_messages = false
            private_copies = false
            nicknames = false
            reserved_nicknames = []
            quarantine = 10
            history_messages = 11
            history_age = 12
            notices = false
            notices_up_to = 13
            rate = 14
            burst = 15
            close_on_flood = true
            ad_hoc_owner = false
            may_invite = "moderator"
            may_change_subject = "visitor"
            may_see_others = "owner"
            host = "Example"
            host_page = "https://example.com/"
            files = false
            max_file_octets = 16
            max_files = 17
            max_files_octets = 18
            max_invitations = 19
            [database]
            url = "postgresql://me:geheim@db.example.com/chat"
            refresh = 16
            [tls]
            certificate = "server.pem"
            private_key = "server.key"
            authorities = "server.pem"
            """,
            "utf-8",
        )
        config = Config.load(path)
        config.check()
        sip, server, conference = config.sip, config.server, config.conference
        self.assertEqual(
            sip.listen,
            (
                Address("udp", "192.0.2.1", 5060),
                Address("tcp", "2001:db8::1", 5062),
                Address("tls", "192.0.2.1", 5061),
            ),
        )
        self.assertEqual(sip.domains, ("conference.example.com", "[2001:db8::1]"))
        networks = (ip_network("192.0.2.0/24"), ip_network("2001:db8::1/128"))
        self.assertEqual(sip.trusted_networks, networks)
        self.assertEqual(sip.trusted_names, {"proxy.example.com", "::1"})
        self.assertEqual(str(sip.trusted[2]), "tls:proxy.example.com")
        self.assertTrue(config.load_sip_tls().required and config.load_sip_tls().has_certificate)
        self.assertEqual(
            sip.nameservers,
            (("192.0.2.53", 53), ("2001:db8::53", 53), ("127.0.0.1", 5353), ("::1", 54)),
        )
        self.assertEqual((sip.contact, sip.address), ("address", "2001:db8::1"))
        self.assertEqual((sip.require, sip.max_transactions), (("gruu", "timer"), 7))
        self.assertEqual(config.focus.ack_timeout, 1.5)
        self.assertEqual(str(config.focus.outbound_proxy), "sip:192.0.2.10:5080;transport=tcp")
        self.assertEqual(str(config.focus.presence), "sip:192.0.2.11")
        self.assertEqual(config.focus.publish_expires, 17)
        self.assertEqual(server.name, "east-1")
        self.assertEqual(
            server.listen, (Address("tcp", "0.0.0.0", 2855), Address("tls", "0.0.0.0", 2856))
        )
        self.assertEqual((server.keepalive, server.keepalive_timeout), (0, 16))
        tls = config.load_tls()
        assert tls is not None and tls.credentials is not None
        self.assertEqual(tls.authorities, (tls.credentials.certificate,))
        self.assertEqual(server.advertised_host, "chat.example.com")
        self.assertEqual((server.msrp_timeout, server.grace, server.chunk_timeout), (2, 0.5, 3))
        self.assertIsInstance(server.msrp_timeout, float)
        self.assertEqual((server.queue_octets, server.congested_timeout), (4, 5))
        self.assertEqual(server.max_rooms, 6)
        self.assertEqual((server.files, server.max_files_octets), ("/srv/files", 7))
        self.assertEqual(server.spool_octets, 0)
        self.assertFalse(conference.ad_hoc)
        self.assertEqual(
            astuple(conference.room),
            (
                *(False, True, 8, ("text/plain", "image/*"), 9, False, False, False),
                *((), 10.0, 11, 12.0, False, 13, 14.0, 15, True),
                *(False, Role.MODERATOR, Role.VISITOR, Role.OWNER),
                *("Example", "https://example.com/"),
                *(False, 16, 17, 18, 19),
            ),
        )
        self.assertEqual(config.database.url, "postgresql://me:geheim@db.example.com/chat")
        self.assertEqual(config.database.refresh, 16.0)
        self.assertEqual(config.source, path)

    def test_component_tables(self) -> None:
        for text, components in (
            ("[sip]\n[conference]", {"focus", "server", "management", "presence"}),
            ("[focus]", {"focus"}),
            ("[server]", {"server"}),
            ("[focus]\n[server]", {"focus", "server"}),
            ("[dispatcher]", {"dispatcher"}),
            ("[channel]", {"focus", "server", "presence", "management"}),
        ):
            self.assertEqual(Config.parse(text, "x").components, components)

    def test_example_has_every_key_with_its_default(self) -> None:
        config = Config.load(EXAMPLE)
        self.assertEqual(config, Config())
        config.check()
        # Keys without a default are there as comments, after their own explanation.
        text = EXAMPLE.read_text("utf-8")
        tables = (
            "sip",
            "focus",
            "server",
            "dispatcher",
            "channel",
            "conference",
            "database",
            "tls",
        )
        for table in tables:
            section = text.partition(f"\n[{table}]\n")[2].partition("\n[")[0]
            written = re.findall(r"^(?:# )?(\w+) = ", section, re.MULTILINE)
            keys = [attribute.name for attribute in fields(type(getattr(config, table)))]
            self.assertEqual(written, keys)


class XcapTests(SynchronousTestCase):
    def refused(self, text: str, *errors: str) -> None:
        with self.assertRaises(ConfigError) as caught:
            Config.parse(text, "x").check()
        found = [line.removeprefix("x: ") for line in str(caught.exception).split("\n")]
        self.assertEqual(len(found), len(errors), found)
        for line, error in zip(found, errors, strict=True):
            self.assertTrue(line.startswith(error), line)

    def test_it_runs_where_its_table_is_written(self) -> None:
        config = Config.parse(
            '[database]\n[xcap]\ntoken = "0123456789abcdef"\n'
            '[xcap.users]\n"sip:Alice@EXAMPLE.com:5060" = "geheim"',
            "x",
        )
        config.check()
        self.assertEqual(config.xcap.users, {"sip:Alice@example.com": "geheim"})
        self.assertEqual([str(each) for each in config.xcap.listen], ["tcp:127.0.0.1:8090"])
        self.assertEqual(config.xcap_token, "0123456789abcdef")
        self.assertNotIn("geheim", repr(config))
        self.assertEqual(config.components, Config().components)

    def test_what_it_needs(self) -> None:
        token = 'token = "0123456789abcdef"\n'
        self.refused(f"[xcap]\n{token}", "[xcap]: the documents are in a database")
        self.refused("[database]\n[xcap]", "[xcap] users: nobody may ask")
        listen = 'listen = ["tcp:127.0.0.1:8090", "tls:127.0.0.1:8091"]\n'
        self.refused(
            f"[database]\n[xcap]\n{token}{listen}",
            '[xcap] listen: "tls:127.0.0.1:8091" needs a certificate',
        )
        self.refused(
            '[database]\n[xcap]\ntoken_file = "nowhere"',
            "[xcap] token_file: nowhere cannot be read",
        )

    def test_it_runs_beside_the_server(self) -> None:
        with self.assertRaises(ConfigError) as caught:
            Config.parse("[focus]\n[database]\n[xcap]", "x").check()
        self.assertIn("[xcap]: it runs beside the server", str(caught.exception))

    def test_users(self) -> None:
        for users in ('"alice" = "x"', '"sip:example.com" = "x"', '"tel:+1" = "x"'):
            self.refused(f"[xcap.users]\n{users}", "[xcap] users: expected a table of passwords")
        for password in ('""', "5"):
            with self.assertRaises(ConfigError) as caught:
                Config.parse(f'[xcap.users]\n"sip:a@b" = {password}', "x")
            self.assertIn('found "another password of sip:a@b"', str(caught.exception))
        twice = '"sip:a@b" = "geheim"\n"sips:a@B" = "geheim"'
        self.refused(f"[xcap.users]\n{twice}", "[xcap] users: expected each user once")


class DatabaseTests(SynchronousTestCase):
    def test_it_is_used_where_its_table_is_written(self) -> None:
        self.assertIsNone(Config().database_url)
        self.assertIsNone(Config.parse("[server]", "/etc/x.toml").database_url)
        url = Config.parse("[database]", "/etc/x.toml").database_url
        self.assertEqual(url, "sqlite+pysqlite:////etc/msrpconf.sqlite")

    def test_its_password_is_shown_nowhere(self) -> None:
        text = '[database]\nurl = "{}://me:geheim@db.example.com/chat"'
        self.assertNotIn("geheim", repr(Config.parse(text.format("postgresql"), "x")))
        for wrong in ("oracle", "postgresql+asyncpg", "nonsense:"):
            error = self.assertRaises(ConfigError, Config.parse, text.format(wrong), "x")
            self.assertIn("[database] url: expected a URL such as", str(error))
            self.assertIn(f'; found "{wrong.partition(":")[0]}:..."', str(error))
            self.assertNotIn("geheim", str(error))


class ErrorTests(SynchronousTestCase):
    def refused(self, text: str, *messages: str) -> None:
        error = self.assertRaises(ConfigError, Config.parse, text, "/etc/msrpconf.toml")
        self.assertEqual(
            str(error).split("\n"), [f"/etc/msrpconf.toml: {message}" for message in messages]
        )

    def test_missing_file(self) -> None:
        error = self.assertRaises(ConfigError, Config.load, "/nowhere/x.toml")
        self.assertEqual(str(error), "/nowhere/x.toml: cannot be read: No such file or directory")

    def test_file_that_is_not_utf8(self) -> None:
        path = self.mktemp()
        Path(path).write_bytes(b"\xff")
        error = self.assertRaises(ConfigError, Config.load, path)
        self.assertEqual(str(error), f"{path}: must be UTF-8, as TOML is")

    def test_not_toml(self) -> None:
        error = self.assertRaises(ConfigError, Config.parse, "[sip]\nlisten = \n", "x.toml")
        self.assertIn("x.toml: not TOML: ", str(error))
        self.assertIn("line 2", str(error))
        deep = "a = " + "[" * 100_000
        error = self.assertRaises(ConfigError, Config.parse, deep, "x.toml")
        self.assertIn("x.toml: not TOML: ", str(error))

    def test_unknown_keys_and_tables(self) -> None:
        self.refused("[sip]\nlisen = []", "[sip] lisen: unknown key; did you mean listen?")
        self.refused(
            "[focus]\nzzz = 1",
            "[focus] zzz: unknown key; the keys are ack_timeout, outbound_proxy, presence,"
            " publish_expires, dispatcher, name",
        )
        self.refused("[confrence]", "[confrence]: unknown table; did you mean [conference]?")
        self.refused(
            "zzz = 1",
            "[zzz]: unknown table; the tables are [sip], [focus], [server], [conference],"
            " [database], [tls], [management], [presence], [dispatcher],"
            " [channel], [xcap]",
        )

    def test_a_proxy(self) -> None:
        expected = 'a SIP URI without a user, such as "sip:proxy.example.com;transport=tcp"'
        for value in ('"proxy.example.com"', '"sip:me@proxy.example.com"', '"tel:+1"', "5"):
            self.refused(
                f"[focus]\noutbound_proxy = {value}",
                f"[focus] outbound_proxy: expected {expected}; found {value}",
            )
        self.refused(
            '[focus]\noutbound_proxy = "sip:proxy.example.com;transport=sctp"',
            f"[focus] outbound_proxy: expected {expected}; "
            'found "sip:proxy.example.com;transport=sctp"',
        )

    def test_table_that_is_a_value(self) -> None:
        self.refused('sip = "x"', 'sip: expected a table, [sip]; found "x"')

    def test_everything_wrong_is_said_at_once(self) -> None:
        self.refused(
            "[focus]\nack_timeout = 0\nx = 1",
            "[focus] ack_timeout: expected a number of seconds greater than 0; found 0",
            "[focus] x: unknown key; the keys are ack_timeout, outbound_proxy, presence,"
            " publish_expires, dispatcher, name",
        )

    def wrong(self, table: str, key: str, expected: str, *values: str) -> None:
        """Each value, in TOML, is refused; its found form is its TOML form."""
        for value in values:
            with self.subTest(key=key, value=value):
                error = self.assertRaises(
                    ConfigError, Config.parse, f"[{table}]\n{key} = {value}", "x.toml"
                )
                self.assertTrue(str(error).startswith(f"x.toml: [{table}] {key}: expected "))
                self.assertIn(expected, str(error))
                self.assertIn("; found ", str(error))
                self.assertNotIn("\n", str(error))

    def test_wrong_numbers(self) -> None:
        for key in ("msrp_timeout", "grace", "chunk_timeout"):
            self.wrong(
                "server",
                key,
                "a number of seconds greater than 0",
                *('"5"', "true", "-1", "0", "inf", "nan", "[1]"),
            )
        for key in ("queue_octets", "max_rooms"):
            self.wrong(
                "server", key, "a whole number greater than 0", '"5"', "true", "0", "-1", "1.0"
            )

    def test_wrong_values_of_rooms(self) -> None:
        none = "a whole number, 0 for none"
        self.wrong("conference", "history_messages", none, '"5"', "true", "-1", "1.0")
        rate = "a number for each second, 0 for no limit"
        self.wrong("conference", "rate", rate, '"5"', "true", "-1", "inf", "nan")
        types = 'media types such as "text/plain", "image/*" or "*"'
        self.wrong("conference", "types", types, '["text"]', '["*/*"]', '["a/b c"]', '[""]')
        line = "a line of text of at most 255 characters"
        self.wrong("conference", "host", line, "5", '"a\\nb"', f'"{"x" * 256}"')
        page = 'the address of a web page such as "https://www.example.com/chat", or ""'
        self.wrong("conference", "host_page", page, "5", '"www.example.com"', '"ftp://x"')
        nicknames = 'nicknames such as "Operator"'
        self.wrong("conference", "reserved_nicknames", nicknames, '[""]', '["\\u0007"]')

    def test_what_becomes_of_rooms(self) -> None:
        key = "on_server_loss"
        self.wrong("dispatcher", key, '"end" or "move"', '"stay"', "true", "[1]")
        config = Config.parse('[dispatcher]\non_server_loss = "move"\n', "x.toml")
        self.assertEqual(config.dispatcher.on_server_loss, "move")

    def test_wrong_links(self) -> None:
        text = 'an address such as "tls:10.0.0.5:4570" or "unix:/run/msrpconf/server.sock"'
        self.wrong("dispatcher", "servers", text, '["tcp:10.0.0.5:1"]', '["unix:x"]', '["x"]')
        srv = '["srv:example.com"]', '["srv:_x._tls"]', '["srv:_a._b.-x"]', '["srv:_a_.b.c.d"]'
        self.wrong("dispatcher", "servers", 'or "srv:_msrpconf._tls.example.com"', *srv)
        self.wrong("server", "control", text, '"10.0.0.5:4570"', "1", '"srv:_a._tls.b.c"')
        self.wrong("server", "control", "an address of this host", '"tls:chat.example.com:1"')
        self.wrong("server", "dispatchers", "names of hosts", '["a b"]', '[""]')
        self.wrong("server", "dispatchers", "a list of names of dispatchers", "[1]")
        self.wrong("dispatcher", "focuses", "names of hosts", '["a b"]')
        self.wrong("dispatcher", "listen", "an address of this host", '"tls:chat.example.com:1"')
        self.wrong("focus", "dispatcher", text, '"10.0.0.5:4570"', "1")
        self.wrong("focus", "name", "names of hosts", '"a b"', "1")

    def test_wrong_truth_values(self) -> None:
        self.wrong("conference", "ad_hoc", "true or false", "1", '"yes"')

    def test_wrong_listen(self) -> None:
        self.wrong("sip", "listen", "a list of one or more addresses", "[]", '"udp:[::]:1"', "[1]")
        self.wrong(
            "sip",
            "listen",
            'addresses such as "udp:192.0.2.1:5060" or "tls:[2001:db8::1]:5061"',
            *('["x"]', '["udp:127.0.0.1"]', '["sctp:127.0.0.1:5060"]', '["udp:::1:5060"]'),
            '["udp:127.0.0.1:65536"]',
        )
        self.wrong("sip", "listen", "not a name", '["udp:localhost:5060"]')
        self.wrong("sip", "listen", "each value once", '["udp:[::1]:1", "udp:[0::1]:1"]')
        self.wrong("server", "listen", '"tcp:192.0.2.1:2855"', '["udp:127.0.0.1:2855"]')

    def test_wrong_domains(self) -> None:
        self.wrong("sip", "domains", "one or more domain names", "[]", '"*"')
        self.wrong("sip", "domains", "domain names such as", '["a b"]', '["*.a"]', '["sip:a"]')
        self.wrong("sip", "domains", "every domain, or domain names", '["*", "a"]')

    def test_wrong_networks(self) -> None:
        self.wrong("sip", "trusted", "a list of networks", '"127.0.0.1"')
        self.wrong("sip", "realm", 'a domain name, such as "example.com"', '"*"', "5")
        self.wrong("sip", "realm", "domain names such as", '"a b"')
        self.wrong("sip", "trusted", "networks or addresses", '["proxy"]', '["1.2.3.4/33"]')
        self.wrong("sip", "trusted", '"10.0.0.0/8" for the whole network', '["10.0.0.1/8"]')
        name = 'the name in a certificate, without wildcards, such as "tls:proxy.example.com"'
        self.wrong("sip", "trusted", name, '["tls:*.example.com"]', '["tls:"]', '["tls:a:5061"]')

    def test_wrong_nameservers(self) -> None:
        text = 'addresses such as "192.0.2.53", "2001:db8::53" or "127.0.0.1:5353"'
        self.wrong("sip", "nameservers", text, '["ns.example.com"]', '["192.0.2.53:0"]', '[""]')
        self.wrong("sip", "nameservers", "a list of addresses of nameservers", '"192.0.2.53"')

    def test_wrong_contact(self) -> None:
        self.wrong("sip", "contact", '"auto", "conference" or "address"', '"zzz"', "1")
        self.wrong("sip", "contact", 'did you mean "conference"?', '"confrence"')

    def test_wrong_address(self) -> None:
        for table in ("sip", "server"):
            self.wrong(table, "address", "a host name", '"a b"', '"a:5060"', '""', "1", '"[::"')
            self.wrong(table, "address", "that others can reach", '"0.0.0.0"', '"::"')

    def test_wrong_require(self) -> None:
        self.wrong("sip", "require", "option tags", '["a b"]', '"timer"')

    def test_wrong_name(self) -> None:
        self.wrong("server", "name", "without a dot", '"a.b"', '""', "1", f'"{"x" * 65}"')

    def test_long_value_is_cut(self) -> None:
        error = self.assertRaises(ConfigError, Config.parse, f'[sip]\nlisten = "{"x" * 999}"', "x")
        self.assertLess(len(str(error)), 200)


class CheckTests(SynchronousTestCase):
    def refused(self, text: str, *messages: str) -> None:
        config = Config.parse(text, "x.toml")
        error = self.assertRaises(ConfigError, config.check)
        lines = str(error).split("\n")
        self.assertEqual(len(lines), len(messages))
        for line, message in zip(lines, messages, strict=True):
            self.assertTrue(line.startswith("x.toml: "))
            self.assertIn(message, line)

    def test_trusted_must_be_written_to_listen_beyond_loopback(self) -> None:
        for listen in ("udp:192.0.2.1:5060", "tcp:0.0.0.0:5060", "udp:[::]:5060"):
            server = '[focus]\n[server]\naddress = "chat.example.com"\n'
            text = f'{server}[sip]\nlisten = ["udp:127.0.0.1:5060", "{listen}"]\n'
            self.refused(text, f'[sip] listen: "{listen}" is open to other hosts')
            Config.parse(text + 'trusted = ["127.0.0.0/8"]', "x").check()
        error = self.assertRaises(ConfigError, Config.parse(text, "x").check)
        self.assertIn('trusted = ["127.0.0.0/8"', str(error))

    def check_fails(self, text: str, *parts: str) -> None:
        error = self.assertRaises(ConfigError, Config.parse(text, "x").check)
        for part in parts:
            self.assertIn(part, str(error))

    def test_sip_over_tls_needs_a_certificate(self) -> None:
        text = '[sip]\nlisten = ["tcp:127.0.0.1:5060", "tls:127.0.0.1:5061"]\n'
        self.refused(text, '[sip] listen: "tls:127.0.0.1:5061" needs a certificate')
        source = str(Path(self.mktemp()).absolute() / "x.toml")
        write(issue("127.0.0.1"), Path(source).parent)
        keys = '[tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n'
        Config.parse(text + keys, source).check()

    def test_trusted_must_be_written_for_tls_too(self) -> None:
        source = Path(self.mktemp()).absolute() / "x.toml"
        write(issue("chat.example.com"), source.parent)
        keys = '[tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n'
        server = '[focus]\n[server]\naddress = "chat.example.com"\n'
        text = f'{keys}{server}[sip]\nlisten = ["tls:192.0.2.1:5061"]\n'
        error = self.assertRaises(ConfigError, Config.parse(text, str(source)).check)
        self.assertIn('[sip] listen: "tls:192.0.2.1:5061" is open to other hosts', str(error))
        self.assertIn('or "tls:proxy.example.com" for the name in a certificate', str(error))
        Config.parse(text + 'trusted = ["tls:proxy.example.com"]', str(source)).check()

    def test_what_is_for_tls_needs_tls(self) -> None:
        self.refused(
            '[sip]\ntrusted = ["127.0.0.1", "tls:proxy.example.com"]',
            '[sip] trusted: "tls:proxy.example.com" is for who connects by TLS; add an address',
        )
        self.refused("[sip]\nrequire_certificate = true", "[sip] require_certificate: it is for")

    def test_passwords_instead_of_trusted(self) -> None:
        text = (
            '[sip]\nlisten = ["udp:192.0.2.1:5060"]\nauthenticate = true\n{}'
            '[server]\naddress = "192.0.2.1"\n[focus]\n{}'
        )
        Config.parse(text.format('realm = "example.com"\n', "[database]"), "x").check()
        self.check_fails(text.format("", "[database]"), 'realm = "example.com"')
        self.check_fails(text.format('realm = "example.com"\n', ""), "[database]", "user add")

    def test_somebody_must_get_in(self) -> None:
        self.check_fails("[sip]\ntrusted = []", "[sip] trusted", "authenticate = true")
        text = '[sip]\ntrusted = []\nauthenticate = true\nrealm = "example.com"\n[database]'
        Config.parse(text, "x").check()

    def test_loopback_needs_no_trusted(self) -> None:
        Config.parse('[sip]\nlisten = ["udp:127.0.0.2:5060", "tcp:[::1]:5060"]', "x").check()

    def test_server_address_must_be_written_to_listen_everywhere(self) -> None:
        for listen in ("tcp:0.0.0.0:2855", "tcp:[::]:2855"):
            text = f'[focus]\n[server]\nlisten = ["{listen}"]\n'
            self.refused(text, f'[server] listen: "{listen}" is every address of this host')
            Config.parse(text + 'address = "chat.example.com"', "x").check()
        Config.parse('[focus]\n[server]\nlisten = ["tcp:192.0.2.1:2855"]', "x").check()

    def test_clients_on_other_hosts_must_not_be_told_loopback(self) -> None:
        sip = '[sip]\nlisten = ["udp:192.0.2.1:5060"]\ntrusted = ["192.0.2.0/24"]\n[focus]\n'
        for server in ("", '[server]\nlisten = ["tcp:[::1]:2855", "tcp:192.0.2.1:2855"]'):
            self.refused(sip + (server or "[server]"), "which leads nowhere on other hosts")
        Config.parse(f'{sip}[server]\nlisten = ["tcp:192.0.2.1:2855"]', "x").check()
        Config.parse(f'{sip}[server]\naddress = "chat.example.com"', "x").check()

    def test_focus_and_server_need_each_other(self) -> None:
        self.refused("[focus]", "[focus] alone runs no msrp-conference-server")
        self.refused("[server]", "[server] alone runs no msrp-conference-focus")
        for text in ("[management]", "[dispatcher]"):
            self.refused(text, f"{text} alone runs neither focus nor server")

    def test_focus_and_server_apart(self) -> None:
        unix = '"unix:/run/msrpconf/east.sock"'
        focus = Config.parse(f"[focus]\n[dispatcher]\nservers = [{unix}]", "x")
        focus.check()
        self.assertEqual(focus.components, {"focus", "dispatcher"})
        server = Config.parse(f"[server]\ncontrol = {unix}\n[management]", "x")
        server.check()
        self.assertEqual(server.components, {"server", "management"})
        both = f"[focus]\n[server]\ncontrol = {unix}\n[dispatcher]\nservers = [{unix}]"
        self.refused(both, "[dispatcher] servers: focus and server of one process need no link")
        both = f"[focus]\n[server]\ncontrol = {unix}"
        self.refused(both, "[server] control: focus and server of one process need no link")
        Config.parse(f"[focus]\n[presence]\n[dispatcher]\nservers = [{unix}]", "x").check()
        self.refused(
            f"[server]\ncontrol = {unix}\n[presence]",
            "[presence] needs the SIP endpoint of a focus, or one of its own; leave it out, or run"
            " it apart with twistd msrpconf-presence",
        )

    def test_a_presence_agent_apart(self) -> None:
        text = "[focus]\n[server]\n[presence]\n[management]\n[dispatcher]"
        config = Config.parse(text, "x").only("presence")
        config.check()
        self.assertEqual(config.components, {"presence"})
        self.refused("[presence]\n[management]", "[management] and [presence] alone runs neither")
        open_to_all = '[sip]\nlisten = ["udp:192.0.2.1:5060"]\n[presence]'
        self.refused(open_to_all, '[sip] listen: "udp:192.0.2.1:5060" is open to other hosts')

    def test_a_dispatcher_apart(self) -> None:
        unix = '"unix:/run/msrpconf/dispatcher.sock"'
        servers = 'servers = ["unix:/run/msrpconf/east.sock"]'
        config = Config.parse(f"[dispatcher]\nlisten = {unix}\n{servers}\n[management]", "x")
        config.check()
        self.assertEqual(config.components, {"dispatcher", "management"})
        focus = Config.parse(f"[focus]\ndispatcher = {unix}", "x")
        focus.check()
        self.assertEqual(focus.components, {"focus"})
        self.refused(f"[dispatcher]\n{servers}", "[dispatcher] alone runs neither focus nor server")
        self.refused(f"[dispatcher]\nlisten = {unix}", "[dispatcher] servers: missing")
        self.refused(
            f"[focus]\ndispatcher = {unix}\n[dispatcher]\n{servers}",
            "[focus] dispatcher: focus and dispatcher of one process need no link",
        )
        self.refused(
            f"[focus]\ndispatcher = {unix}\n[server]",
            "[focus] dispatcher: focus and server of one process need no link",
        )
        self.refused(
            f"[focus]\n[dispatcher]\nlisten = {unix}\n{servers}",
            "[dispatcher] listen: focus and dispatcher of one process need no link",
        )
        self.refused(
            f'[dispatcher]\nlisten = "tls:127.0.0.1:4571"\n{servers}',
            "[dispatcher] focuses: missing",
            "[tls] certificate: missing",
        )
        self.refused('[focus]\ndispatcher = "tls:a:4571"', "[tls] certificate: missing")

    def test_servers_that_dns_knows(self) -> None:
        text = '[focus]\n[dispatcher]\nservers = ["srv:_msrpconf._TLS.Example.com", "tls:a:1"]'
        first, second = Config.parse(text, "x").dispatcher.servers
        assert isinstance(first, ChannelService)
        self.assertEqual(str(first), "srv:_msrpconf._tls.example.com")
        self.assertEqual(first.domain, "example.com")
        self.assertEqual(str(second), "tls:a:1")
        self.refused(
            '[focus]\n[dispatcher]\nservers = ["srv:_msrpconf._tls.example.com"]',
            "[tls] certificate: missing",
        )

    def test_one_file_for_a_focus_and_its_dispatcher_apart(self) -> None:
        unix = '"unix:/run/msrpconf/dispatcher.sock"'
        text = (
            f"[focus]\ndispatcher = {unix}\n[dispatcher]\nlisten = {unix}\n"
            'servers = ["unix:/run/msrpconf/east.sock"]'
        )
        for only, components in (
            (("focus", "dispatcher", "management"), {"focus"}),
            (("dispatcher", "management"), {"dispatcher"}),
        ):
            part = Config.parse(text, "x").only(*only)
            part.check()
            self.assertEqual(part.components, components)

    def test_a_process_that_runs_some_of_it(self) -> None:
        unix = '"unix:/run/msrpconf/east.sock"'
        text = f"[focus]\n[server]\ncontrol = {unix}\n[dispatcher]\nservers = [{unix}]"
        config = Config.parse(text, "x")
        for only, components in (
            (("server", "management"), {"server"}),
            (("focus", "dispatcher"), {"focus", "dispatcher"}),
        ):
            part = config.only(*only)
            part.check()
            self.assertEqual(part.components, components)
        self.assertEqual(Config().only("server", "management").components, {"server"})

    def test_links_by_tls_need_certificates_and_names(self) -> None:
        directory = Path(self.mktemp()).absolute()
        source = str(directory / "x.toml")
        write(issue("chat.example.com"), directory)
        tables = '[server]\ncontrol = "tls:127.0.0.1:4570"\ndispatchers = ["Focus-1"]\n'
        keys = 'certificate = "server.pem"\nprivate_key = "server.key"\n'
        for table in ("tls", "channel"):
            config = Config.parse(f'{tables}[{table}]\n{keys}authorities = "server.pem"', source)
            config.check()
            self.assertEqual(config.server.dispatchers, ("focus-1",))
            self.assertIsNotNone(config.load_channel_tls())
            self.refused(f"{tables}[{table}]", f"[{table}] certificate: missing; links by TLS need")
        more = Config.parse(
            f'{tables}[tls]\n{keys}authorities = "server.pem"\n[channel]\nsilence = 6', source
        )
        more.check()
        self.assertIsNotNone(more.load_channel_tls())
        self.assertEqual(more.channel.link_settings, LinkSettings(ping=2.0, silence=6.0))
        self.refused(tables, "[tls] certificate: missing; links by TLS need")
        self.refused(
            '[server]\ncontrol = "tls:127.0.0.1:4570"',
            "[server] dispatchers: missing",
            "[tls] certificate: missing",
        )
        wrong = Config.parse(f'{tables}[channel]\n{keys}authorities = "none.pem"', source)
        error = self.assertRaises(ConfigError, wrong.check)
        self.assertIn(f"[channel] {directory}/none.pem cannot be read", str(error))
        self.assertIsNone(wrong.load_channel_tls())

    def test_a_token_where_other_hosts_can_ask(self) -> None:
        tables = "[focus]\n[server]\n[management]\n"
        for listen in ("192.0.2.1:8080", "0.0.0.0:8080", "[::]:8080"):
            text = f'{tables}listen = "{listen}"\n'
            self.refused(text, f'[management] listen: "{listen}" is open to other hosts')
            config = Config.parse(f'{text}token = "0123456789abcdef"', "x")
            config.check()
            self.assertEqual(config.management_token, "0123456789abcdef")
            self.assertNotIn("0123456789abcdef", repr(config))
        for listen in ("127.0.0.1:8080", "[::1]:8080", "unix:/run/msrpconf.sock"):
            Config.parse(f'{tables}listen = "{listen}"\n', "x").check()

    def test_the_file_of_a_token(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory / "msrpconf.toml"
        text = '[focus]\n[server]\n[management]\ntoken_file = "secret"\n'
        for content, wrong in (
            (None, "secret cannot be read: No such file"),
            (b"short", "secret must have one line, of 16 to 256 characters"),
            (b"two words are no token", "secret must have one line"),
            (b"\xff" * 20, "secret must have one line"),
        ):
            if content is not None:
                (directory / "secret").write_bytes(content)
            error = self.assertRaises(ConfigError, Config.parse(text, str(path)).check)
            self.assertIn("[management] token_file: ", str(error))
            self.assertIn(wrong, str(error))
        (directory / "secret").write_text("0123456789abcdef\n")
        config = Config.parse(text, str(path))
        config.check()
        self.assertEqual(config.management_token, "0123456789abcdef")
        both = Config.parse(f'{text}token = "0123456789abcdef"', str(path))
        error = self.assertRaises(ConfigError, both.check)
        self.assertIn("there is a token, too", str(error))

    def test_everything_wrong_is_said_at_once(self) -> None:
        self.refused(
            '[sip]\nlisten = ["udp:[::]:5060"]\n[focus]\n[server]\nlisten = ["tcp:[::]:2855"]',
            "[sip] listen",
            "[server] listen",
        )


class TlsTests(SynchronousTestCase):
    """`[tls]`: what is wrong with its files is said before any port opens."""

    LISTEN = '[focus]\n[server]\nlisten = ["tls:127.0.0.1:2856"]\n'

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.own = issue("chat.example.com")
        write(self.own, self.directory)

    def config(self, *keys: str, more: str = "") -> Config:
        path = self.directory / "msrpconf.toml"
        path.write_text(f"{more}[tls]\n" + "\n".join(keys), "utf-8")
        return Config.load(path)

    def refused(self, *keys: str, more: str = "") -> str:
        config = self.config(*keys, more=more)
        error = self.assertRaises(ConfigError, config.check)
        self.assertIsNone(config.load_tls())
        prefix = f"{config.source}: [tls] "
        self.assertTrue(str(error).startswith(prefix), str(error))
        return str(error).removeprefix(prefix).replace(f"{self.directory}/", "")

    def test_right(self) -> None:
        config = self.config(
            'certificate = "server.pem"', 'private_key = "server.key"', more=self.LISTEN
        )
        config.check()
        tls = config.load_tls()
        assert tls is not None and tls.credentials is not None
        self.assertEqual(tls.credentials.certificate, self.own.certificate)
        self.assertIsNone(tls.authorities)

    def test_authorities_alone(self) -> None:
        config = self.config('authorities = "server.pem"')
        config.check()
        tls = config.load_tls()
        assert tls is not None
        self.assertIsNone(tls.credentials)
        self.assertEqual(tls.authorities, (self.own.certificate,))

    def test_files_that_cannot_be_read(self) -> None:
        for key in ("certificate", "private_key", "authorities"):
            text = self.refused(f'{key} = "nowhere.pem"')
            line = f"{key}: nowhere.pem cannot be read: No such file or directory"
            self.assertEqual(text.split("\n")[0], line)

    def test_files_that_are_something_else(self) -> None:
        self.assertEqual(
            self.refused('certificate = "server.key"', 'private_key = "server.key"'),
            "certificate: server.key has no certificate in PEM, '-----BEGIN CERTIFICATE-----'",
        )
        self.assertEqual(
            self.refused('certificate = "server.pem"', 'private_key = "server.pem"'),
            "private_key: server.pem has no private key in PEM, '-----BEGIN PRIVATE KEY-----'",
        )
        (self.directory / "locked.key").write_bytes(key_pem(self.own, b"secret"))
        self.assertEqual(
            self.refused('certificate = "server.pem"', 'private_key = "locked.key"'),
            "private_key: locked.key is encrypted; write the key without a passphrase",
        )

    def test_a_key_of_another_certificate(self) -> None:
        write(issue("other.example.com"), self.directory, "other")
        self.assertEqual(
            self.refused('certificate = "server.pem"', 'private_key = "other.key"'),
            "private_key: other.key is not the key of the certificate",
        )

    def test_one_without_the_other(self) -> None:
        self.assertIn("private_key: missing", self.refused('certificate = "server.pem"'))
        self.assertIn("certificate: missing", self.refused('private_key = "server.key"'))

    def test_listening_needs_a_certificate(self) -> None:
        for more in ("", "[tls]\n"):
            config = Config.parse(self.LISTEN + more, "x.toml")
            error = self.assertRaises(ConfigError, config.check)
            self.assertEqual(
                str(error),
                'x.toml: [server] listen: "tls:127.0.0.1:2856" needs a certificate; write the '
                'table [tls] with certificate = "server.pem" and private_key = "server.key"',
            )

    def test_tls_only_needs_an_address(self) -> None:
        config = Config.parse("[conference]\ntls_only = true", "x.toml")
        error = self.assertRaises(ConfigError, config.check)
        self.assertIn("[conference] tls_only: [server] listen has no address with TLS", str(error))

    def test_wrong_values(self) -> None:
        for text in ("[tls]\ncertificate = 1", '[tls]\ncertificate = ""'):
            error = self.assertRaises(ConfigError, Config.parse, text, "x.toml")
            self.assertIn("[tls] certificate: expected the name of a file", str(error))
        error = self.assertRaises(ConfigError, Config.parse, "[server]\nkeepalive = -1", "x.toml")
        self.assertIn("keepalive: expected a number of seconds, 0 for never", str(error))
