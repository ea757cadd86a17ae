import sys

from services.campaigns.app import SERVICE
from shared.commands import main

sys.exit(main(SERVICE))
