"""Where the tables of scoring belong."""

from shared.database import new_metadata

metadata = new_metadata()
