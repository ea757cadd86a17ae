"""What the services share; nothing here is about one of them."""

# The one version of the distribution; pyproject.toml reads it from here.
__version__ = "0.1.0"
