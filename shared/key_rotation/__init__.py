"""Replacing the key of the environment that wraps all data keys, without sealing anything anew.

Put the new key in front (``REGULARS_SEALING_KEYS=k2:…,k1:…``), restart, start the job (``rotate-keys`` or over HTTP), wait
until no data key is wrapped by the old one, take the old one away.
"""

from shared.key_rotation.job import KIND, rotate_keys, start, wrapped_by

__all__ = ["KIND", "rotate_keys", "start", "wrapped_by"]
