"""What a session description says of a file to be sent or fetched (RFC 5547 §6).

The attributes stand on an `m=message` line; the one that matters is `a=file-selector`::

    a=file-selector:name:"My photo.jpg" type:image/jpeg size:32349 hash:sha-1:72:24:5F:...
    a=file-transfer-id:vBnG916bdberum2fFEABR1FR3ExZMUrd

`parse` and `str` of each value are inverse. Names are as a person reads them; whatever is to
become of them in a file system is the reader's to make safe (§10).
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from attrs import frozen

from msrpconf.protocols.sdp import MediaDescription, SdpError
from msrpconf.protocols.text import shown

FILE_SELECTOR = "file-selector"
FILE_TRANSFER_ID = "file-transfer-id"

SHA_1 = "sha-1"
SHA_256 = "sha-256"

# Names that clients have for the algorithms of the IANA registry.
_ALGORITHMS = {"sha1": SHA_1, "sha256": SHA_256}
_LENGTHS = {SHA_1: 20, SHA_256: 32}

_TOKEN = r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]+"
_SELECTOR = re.compile(
    r'name:"(?P<name>[^"]+)"'
    r"|size:(?P<size>[0-9]{1,18})"
    rf'|type:(?P<type>{_TOKEN}/{_TOKEN}(?:;{_TOKEN}="[^"]*")*)'
    rf"|hash:(?P<algorithm>{_TOKEN}):(?P<digest>[0-9A-Fa-f]{{2}}(?::[0-9A-Fa-f]{{2}})*)"
)
_TYPE = re.compile(rf'({_TOKEN}/{_TOKEN})((?:;{_TOKEN}="[^"]*")*)')
_PARAMETER = re.compile(rf';({_TOKEN})="([^"]*)"')
_DATE = re.compile(r'(creation|modification|read):"([^"]*)"')
_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18}|\*)")
_TRANSFER_ID = re.compile(_TOKEN)

#: Selectors that one attribute may have: each of a kind, and hashes of several algorithms.
MAX_SELECTORS = 16
#: Characters of a file-transfer-id.
MAX_TRANSFER_ID = 256

# What a quoted string must not have as it is, and what means directories to some system.
_TO_ESCAPE = {ord(each): f"%{ord(each):02X}" for each in '\0\r\n"%/\\'}


@frozen
class FileHash:
    """The digest of a whole file by `algorithm`, "sha-1" or another of IANA's registry."""

    algorithm: str
    digest: bytes

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.digest.hex(':').upper()}"


@frozen
class FileSelector:
    """What tells a file from others (RFC 5547 §5); what is None or empty does not.

    - `name`: without any escapes. `size`: in octets.
    - `type`: a media type, as `a=file-selector` has it; `media_type` is without parameters.
    - `hashes`: of the whole file.
    """

    name: str | None = None
    type: str | None = None
    size: int | None = None
    hashes: tuple[FileHash, ...] = ()

    @classmethod
    def parse(cls, value: str) -> FileSelector:
        """Read the value of the attribute; empty for a capability (§8.5). Raises SdpError."""
        found: dict[str, str] = {}
        hashes: list[FileHash] = []
        position = 0
        while position < len(value):
            match = _SELECTOR.match(value, position)
            if match is None or value[match.end() : match.end() + 1] not in ("", " "):
                raise SdpError(
                    'a=file-selector must have name:"...", type:.../..., size:... and '
                    f"hash:sha-1:..., a space between each two: {shown(value[position:])}"
                )
            position = match.end()
            while value[position : position + 1] == " ":
                position += 1
            if match["algorithm"] is not None:
                hashes.append(_hash(match["algorithm"], match["digest"]))
            else:
                kind = str(match.lastgroup)
                if kind in found:
                    raise SdpError(f"a=file-selector must not have two {kind} selectors")
                found[kind] = match[kind]
            if len(found) + len(hashes) > MAX_SELECTORS:
                raise SdpError(f"a=file-selector must not have more than {MAX_SELECTORS} selectors")
        name, size = found.get("name"), found.get("size")
        return cls(
            None if name is None else _unquoted(name),
            found.get("type"),
            None if size is None else int(size),
            tuple(hashes),
        )

    def __str__(self) -> str:
        parts = []
        if self.name is not None:
            parts.append(f'name:"{self.name.translate(_TO_ESCAPE)}"')
        if self.type is not None:
            parts.append(f"type:{self.type}")
        if self.size is not None:
            parts.append(f"size:{self.size}")
        parts += (f"hash:{each}" for each in self.hashes)
        return " ".join(parts)

    @property
    def media_type(self) -> str | None:
        """The type in lower case, without parameters."""
        return None if self.type is None else self.type.partition(";")[0].lower()

    @property
    def content_type(self) -> str | None:
        """The type as a Content-Type header has it, its parameters quoted as there (§6)."""
        match = None if self.type is None else _TYPE.fullmatch(self.type)
        if match is None:
            return self.type
        parameters = (
            f'; {name}="{_unquoted(text)}"'
            for name, text in _PARAMETER.findall(match[2])
            # What would need more quoting than that is left out.
            if _unquoted(text).isprintable() and not {'"', "\\"} & set(_unquoted(text))
        )
        return match[1] + "".join(parameters)

    def digest(self, algorithm: str) -> bytes | None:
        """The digest by that algorithm; None where it is not said."""
        return next((each.digest for each in self.hashes if each.algorithm == algorithm), None)


@frozen
class FileRange:
    """The part of a file that is meant: octets `start` to `stop`, both included, from 1.

    A `stop` of None is the end of the file.
    """

    start: int = 1
    stop: int | None = None

    @classmethod
    def parse(cls, value: str) -> FileRange:
        """Read the value of `a=file-range`. Raises SdpError."""
        match = _RANGE.fullmatch(value.strip())
        if match is not None:
            start, stop = int(match[1]), None if match[2] == "*" else int(match[2])
            if start >= 1 and (stop is None or stop >= start):
                return cls(start, stop)
        raise SdpError(f"a=file-range must be 'first-last' or 'first-*', from 1: {shown(value)}")

    def __str__(self) -> str:
        return f"{self.start}-{'*' if self.stop is None else self.stop}"


@frozen
class FileDates:
    """When a file was made, changed and last read: dates as RFC 5322 writes them, or None."""

    creation: str | None = None
    modification: str | None = None
    read: str | None = None

    @classmethod
    def parse(cls, value: str) -> FileDates:
        """Read the value of `a=file-date`. Raises SdpError."""
        found = _DATE.findall(value)
        dates = dict(found)
        if not found or len(dates) < len(found) or _DATE.sub("", value).strip(" "):
            raise SdpError(
                'a=file-date must have creation:"...", modification:"..." or read:"...", each '
                f"once: {shown(value)}"
            )
        return cls(dates.get("creation"), dates.get("modification"), dates.get("read"))

    def __str__(self) -> str:
        dates = (
            ("creation", self.creation),
            ("modification", self.modification),
            ("read", self.read),
        )
        return " ".join(f'{name}:"{date}"' for name, date in dates if date is not None)


@frozen
class FileDescription:
    """What a media description says of the file that it is for.

    - `selector`: which file. `transfer_id`: None if the line does not say (§8.1 has it a MUST).
    - `range`: the part that is meant, None for all of it.
    - `disposition`: "render" or "attachment", or what else a sender suggests (§7).
    - `dates`, `icon`: further hints, None if there are none; `icon` is a cid: URL.
    """

    selector: FileSelector
    transfer_id: str | None = None
    range: FileRange | None = None
    disposition: str = "render"
    dates: FileDates | None = None
    icon: str | None = None

    @classmethod
    def of(cls, line: MediaDescription) -> FileDescription | None:
        """Read a media description; None for one that is not for a file. Raises SdpError."""
        value = line.attribute(FILE_SELECTOR)
        if value is None:
            return None
        transfer_id = (line.attribute(FILE_TRANSFER_ID) or "").strip() or None
        if transfer_id is not None and not (
            len(transfer_id) <= MAX_TRANSFER_ID and _TRANSFER_ID.fullmatch(transfer_id)
        ):
            raise SdpError(
                f"a=file-transfer-id must be a token of at most {MAX_TRANSFER_ID} characters: "
                f"{shown(transfer_id)}"
            )
        range_ = line.attribute("file-range")
        return cls(
            FileSelector.parse(value.strip(" ")),
            transfer_id,
            None if range_ is None else FileRange.parse(range_),
            (line.attribute("file-disposition") or "").strip().lower() or "render",
            _dates(line.attribute("file-date")),
            line.attribute("file-icon"),
        )

    @property
    def attributes(self) -> tuple[tuple[str, str | None], ...]:
        """The attributes that say this."""
        attributes: list[tuple[str, str | None]] = [(FILE_SELECTOR, str(self.selector) or None)]
        if self.transfer_id is not None:
            attributes.append((FILE_TRANSFER_ID, self.transfer_id))
        if self.disposition != "render":
            attributes.append(("file-disposition", self.disposition))
        if self.dates is not None:
            attributes.append(("file-date", str(self.dates)))
        if self.icon is not None:
            attributes.append(("file-icon", self.icon))
        if self.range is not None:
            attributes.append(("file-range", str(self.range)))
        return tuple(attributes)


def is_for_file(line: MediaDescription) -> bool:
    """Whether a media description is for a file, and not for messages."""
    return bool((line.attribute(FILE_SELECTOR) or "").strip())


def mirrored(line: MediaDescription) -> tuple[tuple[str, str | None], ...]:
    """The attributes of an offered line that its answer repeats, as they are (§8.3)."""
    return tuple(
        (name, value)
        for name, value in line.attributes
        if name in {FILE_SELECTOR, FILE_TRANSFER_ID, "file-range"}
    )


def _hash(algorithm: str, digest: str) -> FileHash:
    algorithm = algorithm.lower()
    algorithm = _ALGORITHMS.get(algorithm, algorithm)
    octets = bytes.fromhex(digest.replace(":", ""))
    expected = _LENGTHS.get(algorithm, len(octets))
    if len(octets) != expected:
        raise SdpError(f"a=file-selector: a hash by {algorithm} has {expected} octets: {digest}")
    return FileHash(algorithm, octets)


def _unquoted(text: str) -> str:
    """A quoted string without its percent escapes; what is not UTF-8 in it becomes U+FFFD."""
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


def _dates(value: str | None) -> FileDates | None:
    """The dates are hints: what cannot be read says nothing."""
    try:
        return None if value is None else FileDates.parse(value)
    except SdpError:
        return None
