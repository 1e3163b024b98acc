"""The command line: `msrpconf chat`, `send`, `put`, `get` and `demo`.

A server is started by `twistd msrpconf`.
"""

from __future__ import annotations

import click

from msrpconf import __version__
from msrpconf.commands.chat import chat
from msrpconf.commands.demo import demo
from msrpconf.commands.files import get, put
from msrpconf.commands.send import send


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s", prog_name="msrpconf")
def main() -> None:
    """Chat rooms for SIP: join one, speak in one, or see a demonstration.

    A server is started with: twistd -n msrpconf
    """


for _command in (chat, send, put, get, demo):
    main.add_command(_command)
