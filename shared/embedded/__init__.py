"""What a machine with nothing but Python needs to run the suite: a Postgres of its own, secrets, a first key."""
