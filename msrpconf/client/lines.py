"""What a line means that somebody types: a text to say, or a command."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from glob import escape, glob

MAX_COMPLETIONS = 100
"""Words that a line may be completed to."""

HELP = """\
Type a text and press Enter to say it to everybody in the room.
/msg NAME TEXT     say it to one person alone; a name with blanks in "quotes"
/nick [NAME]       be called NAME here; without NAME, no more
/who               show who is in the room, or who was heard where it does not tell
/send FILE         give the room a file
/files             show the files that you were told of
/get FILE [PATH]   fetch one, by its name or number, to PATH or its own name here
/invite ADDRESS    have somebody asked into the room, as sip:bob@example.com
/accept, /decline  answer an invitation to another room
/kick NAME         have somebody removed from the room
/mute NAME         take somebody's voice; /unmute NAME gives it back
/subject TEXT      say what the room is about
/leave             leave the room; /quit and Ctrl-D do the same
/help              show this
//text             say a text that begins with a slash"""


class Action(Enum):
    """What somebody wants who typed a line."""

    SAY = "say"
    MSG = "msg"
    NICK = "nick"
    WHO = "who"
    SEND = "send"
    FILES = "files"
    GET = "get"
    INVITE = "invite"
    ACCEPT = "accept"
    DECLINE = "decline"
    KICK = "kick"
    MUTE = "mute"
    UNMUTE = "unmute"
    SUBJECT = "subject"
    LEAVE = "leave"
    HELP = "help"
    UNKNOWN = "unknown"
    NOTHING = "nothing"


COMMANDS = {
    **{
        f"/{each.value}": each for each in Action if each.value not in ("say", "unknown", "nothing")
    },
    "/quit": Action.LEAVE,
    "/join": Action.ACCEPT,
}
"""Actions by the word that a line begins with."""


def read_line(line: str) -> tuple[Action, str]:
    """What a line means, and the text to say, the rest of a command, or one that is not known.

    What cannot be encoded, as a terminal in another encoding gives it, becomes a question mark.
    """
    text = line.encode("utf-8", "replace").decode("utf-8").rstrip("\r\n")
    if not text.strip():
        return Action.NOTHING, ""
    if text.startswith("//"):
        return Action.SAY, text[1:]
    if text.startswith("/"):
        command, *rest = text.split(maxsplit=1)
        action = COMMANDS.get(command.lower(), Action.UNKNOWN)
        return action, command if action is Action.UNKNOWN else "".join(rest)
    return Action.SAY, text


def first_word(text: str) -> tuple[str, str]:
    """The first word of `text`, or what is in quotes there, and the rest."""
    text = text.strip()
    if text.startswith('"'):
        word, quote, rest = text[1:].partition('"')
        if quote:
            return word.strip(), rest.strip()
    word, *others = text.split(maxsplit=1)[:2] or [""]
    return word, others[0] if others else ""


def complete(line: str, people: Iterable[str], files: Iterable[str]) -> tuple[int, list[str]]:
    """How many of the last characters of a line are to be completed, and what they may become.

    `people` and `files` are the names of those that commands are about.
    """
    command, blank, rest = line.partition(" ")
    words: Iterable[str] = ()
    if not line.startswith("/"):
        return 0, []
    if not blank:
        rest, words = line, [f"{each} " for each in COMMANDS]
    elif command in ("/msg", "/kick", "/mute", "/unmute"):
        words = [f"{each} " for each in people]
    elif command == "/get":
        words = files
    elif command == "/send":
        words = glob(f"{escape(rest)}*")
    return len(rest), sorted(each for each in words if each.startswith(rest))[:MAX_COMPLETIONS]
