"""`[conference]`: what holds for rooms that nobody has configured."""

from __future__ import annotations

from attrs import fields, frozen

from msrpconf import config_values as values
from msrpconf.conference.roles import Role
from msrpconf.conference.settings import RESERVED_NICKNAMES, RoomSettings
from msrpconf.config_key import key


@frozen
class ConferenceConfig:
    """`[conference]`: what holds for rooms that nobody has configured.

    - `ad_hoc`: whether a room comes into being with its first participant.

    The others are those of `RoomSettings`, and mean what is said there.
    """

    ad_hoc: bool = key(True, values.boolean)
    max_participants: int = key(1000, values.count)
    plain_text: bool = key(True, values.boolean)
    tls_only: bool = key(False, values.boolean)
    types: tuple[str, ...] = key(
        ("*",), values.list_of(values.media_type, "media types", empty=False)
    )
    max_message_octets: int = key(104_857_600, values.count)
    private_messages: bool = key(True, values.boolean)
    private_copies: bool = key(True, values.boolean)
    nicknames: bool = key(True, values.boolean)
    reserved_nicknames: tuple[str, ...] = key(
        RESERVED_NICKNAMES, values.list_of(values.nickname, "nicknames", empty=True)
    )
    quarantine: float = key(300.0, values.seconds)
    history_messages: int = key(0, values.count_or_none)
    history_age: float = key(86400.0, values.seconds)
    notices: bool = key(True, values.boolean)
    notices_up_to: int = key(50, values.count)
    rate: float = key(20.0, values.rate)
    burst: int = key(100, values.count)
    close_on_flood: bool = key(False, values.boolean)
    ad_hoc_owner: bool = key(True, values.boolean)
    may_invite: Role = key(Role.PARTICIPANT, values.role)  # noqa: RUF009
    may_change_subject: Role = key(Role.MODERATOR, values.role)  # noqa: RUF009
    may_see_others: Role = key(Role.VISITOR, values.role)  # noqa: RUF009
    host: str = key("", values.line)
    host_page: str = key("", values.page)
    files: bool = key(True, values.boolean)
    max_file_octets: int = key(104_857_600, values.count)
    max_files: int = key(100, values.count)
    max_files_octets: int = key(1_073_741_824, values.count)
    max_invitations: int = key(100, values.count)

    @property
    def room(self) -> RoomSettings:
        """The settings of a room that nobody has configured."""
        values = {each.name: getattr(self, each.name) for each in fields(RoomSettings)}
        return RoomSettings(**values)
