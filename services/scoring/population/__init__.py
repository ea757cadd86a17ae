"""Metrics, RFM, value scores and deserved tiers of everybody as of one moment, from nothing but the facts.

Defined once (``definitions``) and compiled for the engine that runs it (``engines``): the service's own Postgres, or DuckDB
or Spark over exported facts (``export``), with equal rows.
"""
