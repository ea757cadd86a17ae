"""The parent's children: started, started again when they die, and stopped with it."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from services.suite.children import run_child
from shared import logs, processes

LOOK_EVERY = 0.5
LONGEST_PAUSE = 30.0
# A child that has lived this long was well: the next death starts the pauses anew.
WELL_AFTER = 60.0

log = logging.getLogger(__name__)


class Closable(Protocol):
    def close(self) -> None: ...


class Family:
    """``react`` and ``work``. The first ones are forked, so that they share what this process has loaded and start at
    once; one that dies is replaced by a fresh interpreter, because this process has threads by then. ``not_theirs`` are
    files that only the parent may hold: a lock would outlive it in a child."""

    def __init__(self, environment: Mapping[str, str], log_file: Path, *not_theirs: Closable) -> None:
        self._environment = dict(environment)
        self._log_file = log_file
        self._not_theirs = not_theirs
        # Only this process holds the writing end: it closes with it, even by kill -9.
        self._lifeline, self._held = os.pipe()
        self._pids: dict[str, int] = {}
        self._born: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._pause: dict[str, float] = {}
        self._stopping = False
        self._turn = threading.Lock()

    def start(self, *roles: str) -> None:
        for role in roles:
            self._pids[role] = self._fork(role) if sys.platform == "linux" else self._spawn(role)
            self._born[role] = time.monotonic()

    def look_after(self, stop: threading.Event) -> None:
        """Until ``stop``: whoever died is started again, after a pause that doubles."""
        while not stop.wait(LOOK_EVERY):
            with self._turn:
                if self._stopping:
                    return
                for role in list(self._pids):
                    self._mourn(role)
                for role, due in list(self._due.items()):
                    if time.monotonic() >= due:
                        del self._due[role]
                        self._pids[role] = self._spawn(role)
                        self._born[role] = time.monotonic()

    def stop(self) -> None:
        """Ask all to finish, and end those who do not."""
        with self._turn:
            self._stopping = True
            for pid in self._pids.values():
                _send(pid, signal.SIGTERM)
            deadline = time.monotonic() + processes.GRACE + 1
            while self._pids and time.monotonic() < deadline:
                for role in list(self._pids):
                    if _is_gone(self._pids[role]):
                        del self._pids[role]
                time.sleep(0.02)
            for pid in self._pids.values():
                _send(pid, signal.SIGKILL)

    def _mourn(self, role: str) -> None:
        pid = self._pids[role]
        if not _is_gone(pid):
            return
        del self._pids[role]
        lived = time.monotonic() - self._born[role]
        pause = 0.2 if lived > WELL_AFTER else min(self._pause.get(role, 0.1) * 2, LONGEST_PAUSE)
        self._pause[role] = pause
        self._due[role] = time.monotonic() + pause
        log.warning(
            "%s (process %d) ended after %.0f s and is started again in %.1f s", role, pid, lived, pause
        )
        print(f"{role} ended and is started again; {self._log_file} says more", flush=True)

    def _fork(self, role: str) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        if pid := os.fork():
            return pid
        code = 1
        try:
            os.setsid()  # Ctrl-C is for the parent, who stops all in order
            os.close(self._held)
            for own in self._not_theirs:
                own.close()
            _quiet(self._log_file)
            logs.configure(role, stream=self._log_file.open("a", buffering=1, encoding="utf-8"))
            code = run_child(role, self._lifeline, self._environment)
        except BaseException:
            log.exception("%s ended", role)
        finally:
            # Nothing of the parent's may run here: neither its clean-up nor its buffers.
            os._exit(code)

    def _spawn(self, role: str) -> int:
        with self._log_file.open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "services", "child", role, str(self._lifeline)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[self._lifeline],
                start_new_session=True,
            )
        _spawned.append(child)
        return child.pid


# Popen reaps in its destructor what it still knows of; here the family waits for its children itself.
_spawned: list["subprocess.Popen[bytes]"] = []


def _is_gone(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _quiet(log_file: Path) -> None:
    """What a child prints by accident belongs into the log, and it reads nothing."""
    with log_file.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
