from shared.migrate import run_environment
from tests.shared.shop.app import metadata

run_environment(metadata)
