"""Who may come in: a credential is judged before anything of the request's body is read."""

from typing import Protocol

from starlette.concurrency import run_in_threadpool

from shared.auth.callers import Caller
from shared.auth.keys import PREFIX, KeyRing
from shared.auth.tokens import Tokens
from shared.errors import Unauthenticated

_LONGEST = 8192


class Gate(Protocol):
    async def admit(self, authorization: str | None) -> Caller: ...


class CredentialGate:
    """Admits the holders of API keys (``rgl_…``) and of the identity provider's tokens."""

    def __init__(self, keys: KeyRing, tokens: Tokens) -> None:
        self._keys = keys
        self._tokens = tokens

    async def admit(self, authorization: str | None) -> Caller:
        """The caller behind an Authorization header; raises Unauthenticated."""
        if not authorization:
            raise Unauthenticated(
                "credential_required", "send Authorization: Bearer with an API key or a token"
            )
        scheme, _, credential = authorization.partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential or len(credential) > _LONGEST:
            raise Unauthenticated("invalid_credential", "the Authorization header is not a bearer credential")
        if credential.startswith(PREFIX):
            return await self._holder_of(credential)
        if credential.count(".") == 2:
            if self._tokens.knows(credential):
                return self._tokens.verify(credential)
            return await run_in_threadpool(self._tokens.verify, credential)
        raise Unauthenticated("invalid_credential", "the credential is neither an API key nor a token")

    async def _holder_of(self, key: str) -> Caller:
        if self._keys.should_ask(key):
            await run_in_threadpool(self._keys.ask)
        caller = self._keys.find(key)
        if caller is None:
            raise Unauthenticated("invalid_credential", "the API key is unknown or was revoked")
        return caller
