import asyncio

import pytest

from shared.errors import Unavailable
from shared.http.overload import WAITING_PER_THREAD, Overload


def test_whoever_comes_when_too_many_wait_is_turned_away_and_others_later_are_let_in():
    async def scenario():
        release = asyncio.Event()
        answered = []

        async def app(scope, receive, send):
            await release.wait()
            answered.append(scope["path"])

        overload = Overload(app, threads=1)
        request = {"type": "http", "path": "/x"}
        waiting = [asyncio.create_task(overload(request, None, None)) for _ in range(WAITING_PER_THREAD)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as refused:
            await overload(request, None, None)
        assert (refused.value.code, refused.value.headers) == ("overloaded", {"Retry-After": "1"})
        alive = asyncio.create_task(overload({"type": "http", "path": "/shop/livez"}, None, None))
        release.set()
        await asyncio.gather(*waiting, alive)
        await overload(request, None, None)
        assert len(answered) == WAITING_PER_THREAD + 2

    asyncio.run(scenario())
