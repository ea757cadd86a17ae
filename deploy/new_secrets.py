"""Make the secrets of a new deployment, on standard output and nowhere else.

    python -m deploy.new_secrets kubernetes 'postgresql://regulars:PASSWORD@postgres:5432/{service}' | kubectl apply -n regulars-dev -f -
    python -m deploy.new_secrets environment > deploy/.env         # for deploy/compose.yaml

Each service gets a Secret ``{service}-secrets`` of its own: its database, its own key for calls to the others, what seals its
data, and the HMACs by which it knows the others' keys. The admin key is shown once, on standard error. PASSWORD stands for
one that is made here. Run it once: whoever replaces the sealing keys can read nothing that was sealed before.
"""

import base64
import json
import secrets
import sys
from collections.abc import Mapping

from services.suite.members import NAMES, kinds
from shared.auth.keys import hmac_of, new_key


def new_secrets(database_url: str) -> dict[str, dict[str, str]]:
    """The environment of each service, and ``postgres`` with the password that stands in ``database_url``."""
    pepper, password = secrets.token_hex(32), secrets.token_urlsafe(24)
    keys = {name: new_key(pepper)[0] for name in ("admin", *NAMES)}
    known = json.dumps({name: hmac_of(key, pepper) for name, key in keys.items()})
    audit = secrets.token_hex(32)
    made = {
        name: {
            "REGULARS_DATABASE_URL": database_url.format(service=name).replace("PASSWORD", password),
            "REGULARS_SERVICE_KEY": keys[name],
            "REGULARS_KEY_PEPPER": pepper,
            "REGULARS_ENVIRONMENT_KEYS": known,
            "REGULARS_SEALING_KEYS": "k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
            **{
                f"REGULARS_{field.upper()}": secrets.token_hex(32)
                for field, about in kind.model_fields.items()
                if field.endswith("_key") and about.is_required()
            },
            "REGULARS_AUDIT_KEY": audit,
        }
        for name, kind in kinds().items()
    }
    return {**made, "postgres": {"password": password}, "admin": {"key": keys["admin"]}}


def as_kubernetes(made: Mapping[str, Mapping[str, str]]) -> str:
    """A list of Secrets; the admin key is in none of them."""
    items = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name if name == "postgres" else f"{name}-secrets"},
            "type": "Opaque",
            "stringData": dict(values),
        }
        for name, values in made.items()
        if name != "admin"
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2)


def as_environment(made: Mapping[str, Mapping[str, str]]) -> str:
    """``NAME=value`` lines for compose: what differs between services carries the service's name."""
    lines = [f"POSTGRES_PASSWORD={made['postgres']['password']}"]
    for service in NAMES:
        lines += [
            f"{name.replace('REGULARS_', f'REGULARS_{service.upper()}_', 1)}='{value}'"
            for name, value in made[service].items()
        ]
    return "\n".join(lines)


def main(form: str, database_url: str = "postgresql://regulars:PASSWORD@postgres:5432/{service}") -> None:
    made = new_secrets(database_url)
    print(as_kubernetes(made) if form == "kubernetes" else as_environment(made))
    print(f"admin key, shown this once: {made['admin']['key']}", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in ("kubernetes", "environment"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
