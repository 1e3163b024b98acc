"""A user agent: join a room, speak, listen, leave."""

from msrpconf.client.agent import JoinError, UserAgent
from msrpconf.client.chat import Chat
from msrpconf.client.message import Message
from msrpconf.protocols.msrp.sending import SendError

__all__ = ["Chat", "JoinError", "Message", "SendError", "UserAgent"]
