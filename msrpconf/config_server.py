"""`[server]`: the MSRP switch, and where clients connect to it."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from msrpconf import config_channel
from msrpconf import config_values as values
from msrpconf.config_key import key
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.sip.flow import Address


@frozen
class ServerConfig:
    """`[server]`: the MSRP switch.

    - `name`: what names this server in the tags of its dialogs.
    - `listen`: addresses to listen at for MSRP, numeric.
    - `address`: the host to advertise in `a=path`, None for the one listened at.
    - `control`: where dispatchers connect, None where the focus is in this process.
    - `dispatchers`: the names that the certificates of dispatchers may be for.
    - `keepalive`: seconds after which an idle connection is asked whether it still is; 0: never.
    - `keepalive_timeout`: seconds that such a connection may not answer.
    - `msrp_timeout`: seconds that who has joined may be without an MSRP connection.
    - `session_expires`: seconds that a dialog is good for which nobody refreshes; 0: for ever.
    - `grace`: seconds that a broken MSRP connection may stay away.
    - `chunk_timeout`: seconds that a message may wait for its next chunk.
    - `queue_octets`: octets that may wait to be sent to one participant.
    - `congested_timeout`: seconds that a participant may be congested before it is sent out.
    - `processes`: server processes, each of which has rooms of its own.
    - `max_rooms`: rooms at one time.
    - `files`: the directory of the rooms' files, relative to that of the configuration file; None
      for a temporary one.
    - `state`: the directory of what is to survive a restart where there is no database, relative
      to that of the configuration file; None for nowhere.
    - `spool_octets`: octets on disk for what slow readers of long messages have not read.
    - `max_files_octets`: octets of the files of all rooms together.
    """

    name: str = key("local", values.server_name)
    listen: tuple[Address, ...] = key(
        (Address("tcp", "127.0.0.1", 2855),),
        values.list_of(values.address("tcp", "tls"), "addresses to listen at", empty=False),
    )
    address: str | None = key(None, values.host)
    control: ChannelAddress | None = key(None, config_channel.control)  # noqa: RUF009
    dispatchers: tuple[str, ...] = key(
        (), values.list_of(config_channel.peer_name, "names of dispatchers", empty=True)
    )
    keepalive: float = key(60.0, values.seconds_or_never)
    keepalive_timeout: float = key(30.0, values.seconds)
    msrp_timeout: float = key(15.0, values.seconds)
    session_expires: float = key(1800.0, values.session_expires)
    grace: float = key(15.0, values.seconds)
    chunk_timeout: float = key(540.0, values.seconds)
    queue_octets: int = key(1_048_576, values.count)
    congested_timeout: float = key(120.0, values.seconds)
    processes: int = key(1, values.count)
    max_rooms: int = key(10_000, values.count)
    files: str | None = key(None, values.directory)
    state: str | None = key(None, values.directory)
    spool_octets: int = key(1_073_741_824, values.count_or_none)
    max_files_octets: int = key(10_737_418_240, values.count)

    @property
    def advertised_host(self) -> str:
        """The host for `a=path`, IPv6 without brackets."""
        return self.listen[0].host if self.address is None else self.address

    def problems(self, sip_listen: Iterable[Address]) -> Iterable[str]:
        """What is wrong with where clients connect, each with its table and key.

        `sip_listen` is where their calls come from.
        """
        if self.address is not None:
            return
        for address in self.listen:
            if values.is_wildcard(address.host):
                yield (
                    f'[server] listen: "{address}" is every address of this host, and [server] '
                    "address does not say which one clients are to connect to; write it, such as "
                    'address = "chat.example.com"'
                )
                return
        told, *_ = self.listen
        if values.is_loopback(told) and not all(map(values.is_loopback, sip_listen)):
            yield (
                f'[server] listen: clients are told to connect to the first address, "{told}", '
                "which leads nowhere on other hosts, and [sip] listen is open to those; write an "
                'address that they can reach, or say it in address = "chat.example.com"'
            )
