"""What happened to one thing that is watched, and the documents that tell of it.

Each subscription has a mark: how far it has been told. All that have the same mark get the
same document, which is made once; only its version is each subscription's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from msrpconf.presence.watching import Decision, Package, Source

if TYPE_CHECKING:
    from msrpconf.presence.subscription import Subscription

MAX_LOG = 256
"""Changes that are kept for who has not been told of them; who is further behind gets all."""

MAX_VERSION = 2**32 - 1
"""The largest version of a document (RFC 4575 §5.2: xs:unsignedInt)."""

_PLACE = MAX_VERSION
_PATTERN = b'version="%d"'


class Template:
    """A document without its version."""

    __slots__ = ("_head", "_tail", "size")

    def __init__(self, document: bytes) -> None:
        """`document` is one that was made with the version `_PLACE`."""
        self._head, _, self._tail = document.partition(_PATTERN % _PLACE)
        self.size = len(document)

    @classmethod
    def of(cls, make: Callable[[str, int], bytes], uri: str) -> Template:
        """What `make` makes of a URI and a version."""
        return cls(make(uri, _PLACE))

    def with_version(self, version: int) -> bytes:
        """The document of one subscription."""
        return b"".join((self._head, _PATTERN % version, self._tail))


@frozen
class _Awaited:
    """What is about to be watched; nobody asks it for documents."""

    uri: str

    def full(self, version: int) -> bytes:
        raise NotImplementedError

    def partial(self, change: Any, version: int) -> bytes:
        raise NotImplementedError

    def summary(self, version: int) -> bytes:
        raise NotImplementedError


class Feed:
    """One thing that is watched, by its subscriptions; `source` is None when it is no more."""

    __slots__ = (
        "_age",
        "_begin",
        "_full_size",
        "_later",
        "_log",
        "_templates",
        "armed",
        "awaited",
        "key",
        "last",
        "package",
        "source",
        "subscriptions",
        "uri",
    )

    def __init__(self, package: Package, key: str, source: Source) -> None:
        self.package = package
        self.key = key
        self.source: Source | None = source
        self.uri = source.uri
        self.subscriptions: dict[Subscription, None] = {}
        self.last = float("-inf")
        """When watchers were last told."""
        self.armed = False
        """Whether they are about to be told."""
        self._log: list[Any] = []
        self._begin = 0
        # For each place in the log, all that came from there on, as far as it was asked for.
        self._later: list[Any] = []
        self._templates: dict[object, Template] = {}
        self._full_size = 0
        self._age = float("-inf")
        self.awaited = False
        """Whether it is known only that somebody watches it, since before a restart."""

    @classmethod
    def of_awaited(cls, package: Package, key: str, uri: str) -> Feed:
        """The feed of what is not known yet."""
        feed = cls(package, key, _Awaited(uri))
        feed.source, feed.awaited = None, True
        return feed

    @property
    def position(self) -> int:
        """How far a watcher has been told who has been told everything."""
        return self._begin + len(self._log)

    def add(self, change: Any) -> None:
        """Something has changed."""
        if len(self._log) >= MAX_LOG:
            drop = MAX_LOG // 2
            del self._log[:drop]
            self._begin += drop
        self._log.append(change)
        self._later = []
        self._templates.clear()

    def grow_old(self, now: float) -> None:
        """Make documents anew that tell of time; `now` is in seconds of the clock."""
        if self.package.ages and now - self._age >= 1.0:
            self._age = now
            self._templates.clear()

    def forget_before(self, mark: int) -> None:
        """Nobody has a mark below this one any more."""
        drop = min(mark, self.position) - self._begin
        if drop > 0:
            del self._log[:drop]
            self._begin += drop
            self._later = []

    def document(self, mark: int | None, decision: Decision) -> Template:
        """What to tell who has this mark, None for nothing yet. There must be a source."""
        source = self.source
        assert source is not None
        if decision is Decision.ALLOW:
            whole = mark is None or mark < self._begin
            kind: object = None if whole else mark
        elif decision is Decision.SUMMARY:
            kind = decision
        else:
            kind = Decision.POLITE_BLOCK
        found = self._templates.get(kind)
        if found is None:
            found = self._templates[kind] = self._make(source, kind)
        return found

    def _make(self, source: Source, kind: object) -> Template:
        if kind is None:
            template = Template(source.full(_PLACE))
            self._full_size = template.size
        elif isinstance(kind, int):
            template = Template(source.partial(self._since(kind), _PLACE))
            if template.size > self._full_size and not self.package.always_partial:
                # RFC 6446 §5.5.1: what is no smaller than the whole is sent as the whole.
                full = self.document(None, Decision.ALLOW)
                if full.size <= template.size:
                    template = full
        elif kind is Decision.SUMMARY:
            template = Template(source.summary(_PLACE))
        else:
            template = Template.of(self.package.empty, source.uri)
        return template

    def _since(self, mark: int) -> Any:
        """All that has changed since a mark, in one."""
        if mark >= self.position:
            return self.package.nothing
        later, log = self._later, self._log
        # `later` is in the order of the log's end to its begin.
        while len(later) < self.position - mark:
            each = log[-1 - len(later)]
            later.append(each.then(later[-1]) if later else each)
        return later[self.position - mark - 1]

    def changes_since(self, mark: int) -> bool:
        """Whether there is something to tell who has this mark."""
        return mark < self.position
