"""A bot that answers questions in a room: each answer has words that ask for it.

    python faqbot.py FAQ.toml sip:lobby@127.0.0.1

FAQ.toml has a table `[answers]`: the words, and what is said to who uses all of them in a
question. Asked in private, it answers in private. It takes a nickname, so that people see
what it is; it says each answer once in a while and not more, so that two bots in a room do
not talk for ever; and it comes back when it is thrown out, or the server is away.
"""

import re
import sys
import tomllib

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from msrpconf.client import JoinError, SendError, UserAgent

QUIET = 10.0
"""Seconds until the same answer is given again."""

MAX_WAIT = 60


def read_answers(path):
    """The answers of a file, by the words that ask for them."""
    with open(path, "rb") as file:
        answers = tomllib.load(file).get("answers", {})
    if not answers or not all(isinstance(each, str) for each in answers.values()):
        raise ValueError(f'{path}: expected a table [answers] of texts, such as "hours" = "9 to 5"')
    return {frozenset(words.lower().split()): answer for words, answer in answers.items()}


class FaqBot:
    """One bot in one room."""

    def __init__(self, reactor, room, answers):
        self._reactor = reactor
        self._room = room
        self._answers = answers
        self._said = {}
        self._chat = None
        self.agent = UserAgent(reactor, "sip:faq@example.com", display_name="FAQ")

    async def run(self):
        wait = 1
        while True:
            ended = Deferred()
            try:
                self._chat = await self.agent.join(
                    self._room, on_message=self.heard, on_ended=ended.callback
                )
                wait = 1
                await self.introduce()
                why = await ended
            except JoinError as error:
                why = error
            print(f"out, and back in {wait} s: {why}", flush=True)
            await deferLater(self._reactor, wait)
            wait = min(2 * wait, MAX_WAIT)

    async def introduce(self):
        try:
            if "nickname" in self._chat.features:
                await self._chat.use_nickname("FAQ bot")
            await self._chat.send("Ask me something.")
        except SendError as error:
            print(f"not introduced: {error}", flush=True)
        print(f"in {self._chat.room}", flush=True)

    def heard(self, message):
        if message.media_type != "text/plain" or not message.text.rstrip().endswith("?"):
            return
        words = set(re.findall(r"\w+", message.text.lower()))
        # The answer with the most words that were said.
        asked = [each for each in self._answers if each <= words]
        if not asked:
            return
        key = max(asked, key=len)
        to = message.sender if message.is_private else None
        now = self._reactor.seconds()
        if to is None and now - self._said.get(key, -QUIET) < QUIET:
            return
        if to is None:
            self._said[key] = now
            sending = self._chat.send(self._answers[key])
        else:
            sending = self._chat.send_private(to, self._answers[key])
        sending.addErrback(lambda failure: print(failure.getErrorMessage(), flush=True))


async def main(reactor, *arguments):
    if len(arguments) != 2:
        raise SystemExit("usage: faqbot.py FAQ.toml ROOM")
    path, room = arguments
    try:
        answers = read_answers(path)
    except (OSError, ValueError) as error:
        raise SystemExit(f"faqbot: {error}") from None
    bot = FaqBot(reactor, room, answers)
    reactor.addSystemEventTrigger("before", "shutdown", bot.agent.stop)
    await bot.run()


if __name__ == "__main__":
    react(main, sys.argv[1:])
