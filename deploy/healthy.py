"""Whether this container's process answers: /livez of an api, else the metrics that every process has."""

import os
import sys
from http.client import HTTPConnection

ASKED = (("REGULARS_PORT", "/livez"), ("REGULARS_METRICS_PORT", "/metrics"))


def answers(port: str, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", int(port), timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


sys.exit(not any(answers(os.environ[port], path) for port, path in ASKED if os.environ.get(port, "0") != "0"))
