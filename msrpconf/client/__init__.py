"""A user agent: join a room, speak, listen, leave."""

from msrpconf.client.agent import UserAgent
from msrpconf.client.call import JoinError
from msrpconf.client.chat import Chat
from msrpconf.client.files import FileTransferError, safe_name
from msrpconf.client.invited import Invited
from msrpconf.client.message import Message, Person
from msrpconf.client.referring import ReferError
from msrpconf.client.room_events import Happening, RoomEvent
from msrpconf.client.roster import Roster
from msrpconf.client.watchers import WatchersEvent, WatchersWatch
from msrpconf.client.watching import Watch, WatchError, WatchState
from msrpconf.protocols.msrp.sending import SendError

__all__ = [
    "Chat",
    "FileTransferError",
    "Happening",
    "Invited",
    "JoinError",
    "Message",
    "Person",
    "ReferError",
    "RoomEvent",
    "Roster",
    "SendError",
    "UserAgent",
    "Watch",
    "WatchError",
    "WatchState",
    "WatchersEvent",
    "WatchersWatch",
    "safe_name",
]
