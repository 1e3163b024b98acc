"""The management interface: HTTP with JSON, metrics and health.

It knows nothing of its own: it asks the registry, the control and the database's rooms.
"""

from msrpconf.services.management.parts import Parts
from msrpconf.services.management.service import ManagementService

__all__ = ["ManagementService", "Parts"]
