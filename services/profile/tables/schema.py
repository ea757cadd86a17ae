"""Where all tables of profile are gathered."""

from shared.database import new_metadata

metadata = new_metadata()
