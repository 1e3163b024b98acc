from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from msrpconf import config_processes
from msrpconf.config import Config, ConfigError
from msrpconf.services.reloading import differences


class ProcessesTests(SynchronousTestCase):
    """`[server] processes`: the configurations of a parent and of its children."""

    def refused(self, text: str, expected: str) -> None:
        error = self.assertRaises(ConfigError, Config.parse(text, "x").check)
        self.assertIn(f"x: {expected}", str(error))
        self.assertNotIn("\n", str(error))

    def test_a_focus_and_its_servers(self) -> None:
        text = (
            '[focus]\n[server]\nname = "chat"\nprocesses = 3\nfiles = "files"\nstate = "state"\n'
            'listen = ["tcp:127.0.0.1:2855", "tcp:127.0.0.1:2857"]\n[management]\n'
        )
        config = Config.parse(text, "x")
        config.check()
        self.assertEqual(config_processes.names(config), ["chat-1", "chat-2", "chat-3"])
        parent = config_processes.of_parent(
            config.only("focus", "dispatcher", "management"), "/s", 3
        )
        parent.check()
        self.assertEqual(parent.components, {"focus", "dispatcher", "management"})
        servers = ["unix:/s/1.sock", "unix:/s/2.sock", "unix:/s/3.sock"]
        self.assertEqual([str(each) for each in parent.dispatcher.servers], servers)
        child = config_processes.of_child(config.only("server", "management"), 2, "/s")
        child.check()
        self.assertEqual(child.components, {"server", "management"})
        self.assertEqual((child.server.name, child.server.processes), ("chat-2", 1))
        self.assertEqual([each.port for each in child.server.listen], [2858, 2860])
        self.assertEqual(str(child.server.control), "unix:/s/2.sock")
        self.assertEqual(str(child.management.listen), "unix:/s/2.management.sock")
        self.assertEqual((child.server.files, child.server.state), ("files/chat-2", "state/chat-2"))

    def test_servers_for_dispatchers_elsewhere(self) -> None:
        for control, third in (
            ("tls:10.0.0.5:4570", "tls:10.0.0.5:4572"),
            ("tls:10.0.0.5:0", "tls:10.0.0.5:0"),
            ("unix:/run/chat.sock", "unix:/run/chat-3.sock"),
            ("unix:/run/a.b/chat", "unix:/run/a.b/chat-3"),
        ):
            config = Config.parse(
                f'[server]\nprocesses = 3\nlisten = ["tcp:10.0.0.5:0"]\ncontrol = "{control}"', "x"
            )
            child = config_processes.of_child(config, 3, None)
            self.assertEqual(str(child.server.control), third)
            self.assertEqual(str(child.management.listen), "127.0.0.1:8082")
            self.assertEqual([each.port for each in child.server.listen], [0])
            self.assertEqual((child.server.name, child.server.files), ("local-3", None))

    def test_what_it_does_not_go_with(self) -> None:
        text = "[focus]\n[server]\nprocesses = "
        self.refused(f"{text}65", "[server] processes: expected at most 64; found 65")
        self.refused(
            f'{text}3\nlisten = ["tcp:127.0.0.1:65534"]',
            '[server] listen: 3 processes need ports from "tcp:127.0.0.1:65534" on, up to 65536',
        )
        self.refused(
            f'{text}2\n[xcap]\ntoken = "{"x" * 32}"\n[database]\nurl = "sqlite://"',
            "[xcap]: it runs beside the one server of a process",
        )

    def test_the_file_read_again(self) -> None:
        path = Path(self.mktemp()).absolute()
        path.write_text("[focus]\n[server]\nprocesses = 2\n")
        config = Config.load(path).only("focus", "dispatcher")
        parent = config.made(lambda found: config_processes.of_parent(found, "/s", 2))
        self.assertEqual(parent.read_again(), parent)
        path.write_text("[focus]\n[server]\nprocesses = 3\ngrace = 2.0\n")
        again = parent.read_again()
        # Those that there are; the third waits for a restart.
        self.assertEqual(again.dispatcher, parent.dispatcher)
        self.assertEqual(differences(parent, again), ["server.processes"])
