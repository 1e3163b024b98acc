"""The command line: `msrpconf chat`, `room`, `status` and the others.

A server is started by `twistd msrpconf`.
"""

from __future__ import annotations

import click

from msrpconf import __version__
from msrpconf.commands.chat import chat
from msrpconf.commands.demo import demo
from msrpconf.commands.files import get, put
from msrpconf.commands.participant import participant
from msrpconf.commands.pki import pki
from msrpconf.commands.room import room
from msrpconf.commands.send import send
from msrpconf.commands.server import server
from msrpconf.commands.serving import drain, reload, status, undrain
from msrpconf.commands.top import top
from msrpconf.commands.user import user
from msrpconf.commands.watch import watch
from msrpconf.commands.watchers import allow_watcher, block_watcher, watchers


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s", prog_name="msrpconf")
def main() -> None:
    """Chat rooms for SIP: join one, speak in one, or manage a server's.

    A server is started with: twistd -n msrpconf
    """


for _command in (chat, send, put, get, watch, demo, pki):
    main.add_command(_command)
for _command in (watchers, allow_watcher, block_watcher):
    room.add_command(_command)
for _command in (room, participant, server, status, top, drain, undrain, reload, user):
    main.add_command(_command)
