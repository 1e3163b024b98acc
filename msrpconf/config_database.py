"""`[database]`: where static rooms are kept."""

from __future__ import annotations

from attrs import frozen

from msrpconf import config_values as values
from msrpconf.config_key import key


@frozen
class DatabaseConfig:
    """`[database]`: where static rooms are kept; without the table there are none.

    - `url`: of SQLite, PostgreSQL or MySQL. A file of SQLite is relative to the configuration's.
    - `refresh`: seconds until a change by another process takes effect.
    """

    # Not shown: it may have a password.
    url: str = key("sqlite:///msrpconf.sqlite", values.database_url, shown=False)
    refresh: float = key(5.0, values.seconds)
