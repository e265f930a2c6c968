# SPDX-License-Identifier: Apache-2.0
"""The master: it opens the listening socket, forks the workers and looks after them.

It opens nothing else (no hub, thread or connection), so a worker inherits nothing it could not
share. eventlet may have replaced parts of the standard library, and nothing here may wait in a
hub: hence the plain sockets and system calls, and one wait for all, in `sigtimedwait`. Signals
stay blocked, also over the change to another generation, so none is lost and none interrupts.
"""

from __future__ import annotations

import _socket as socket
import contextlib
import dataclasses
import gc
import logging
import os
import posix
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from oslo_config import cfg

from glance_lite import memory
from glance_lite.conf import where
from glance_lite.errors import ConfigurationError
from glance_lite.server import generation, notify
from glance_lite.server.heart import Heart

LOG = logging.getLogger(__name__)

#: Runs a worker in a process of its own until it ends; gets the listening socket, the heart to
#: beat and the descriptor that ends with the master. Its exit code.
RunWorker = Callable[[Any, Heart, int], int]

#: Seconds before a dead worker is replaced that did not live longer than that.
PAUSE = 1.0
#: Seconds between two looks around, while something is about to happen and else.
SOON = 0.02
SELDOM = 1.0
#: Seconds that requests have to clean up after them when their connections are cut.
CLEANUP = 5.0

MOST_WORKERS = 8

SIGNALS = (
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD,
)  # fmt: skip
STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

#: What workers are told: end when what runs has ended, the same within the time for it, at once.
RETIRE = signal.SIGHUP
END = signal.SIGTERM
CUT = signal.SIGQUIT


def listen(conf: cfg.ConfigOpts) -> Any:
    """The listening socket. Raises `ConfigurationError` in one sentence."""
    host, port = conf.bind_host, conf.bind_port
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.bind(address)
        adjust(conf, listener)
    except OSError as ex:
        raise ConfigurationError(
            f'{where(conf, "DEFAULT", "bind_port")}[DEFAULT] bind_host, bind_port: '
            f'{host}:{port} cannot be listened on: {ex.strerror or ex}'
        ) from ex
    return listener


def adjust(conf: cfg.ConfigOpts, listener: Any) -> None:
    """What a socket that listens already may be told again."""
    # Inherited by each accepted connection, as all of these.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, conf.tcp_keepidle)
    # PERF: an answer of more than one packet waited 40 ms for the client's delayed
    # acknowledgement (list of 25: 48 ms before, 4 now).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.listen(conf.backlog)


def taken_over(conf: cfg.ConfigOpts, descriptor: int) -> Any:
    """The listening socket of the generation before."""
    listener = socket.socket(fileno=descriptor)
    adjust(conf, listener)
    host, port = conf.bind_host, conf.bind_port
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
        if listener.getsockname()[:2] not in [one[4][:2] for one in found]:
            LOG.warning(
                '%s[DEFAULT] bind_host, bind_port: %s:%s is served after a restart only',
                where(conf, 'DEFAULT', 'bind_port'), host, port,
            )  # fmt: skip
    return listener


def workers_of(conf: cfg.ConfigOpts) -> int:
    if conf.workers is None:
        return min(os.cpu_count() or 1, MOST_WORKERS)
    return max(1, int(conf.workers))


@dataclasses.dataclass
class Child:
    """A worker, as its master sees it."""

    heart: Heart
    started: float

    def silence(self) -> float:
        """Seconds since it was heard, or started."""
        return time.monotonic() - max(self.heart.last(), self.started)


class Master:
    """Forks the workers, replaces those that die, and passes signals on."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        run_worker: RunWorker,
        inheritance: generation.Inheritance | None = None,
    ) -> None:
        self._conf = conf
        self._run_worker = run_worker
        self._inheritance = inheritance
        self._workers: dict[int, Child] = {}
        #: workers of generations before, who end by themselves or serve on
        self._elders: set[int] = set(inheritance.workers if inheritance else ())
        #: times at which workers are replaced
        self._due: list[float] = []
        self._serving = False
        self._changed = False
        self._check: generation.Check | None = None
        self._listener: Any = None
        # Workers see the end of the other side when the master is gone, however it went.
        self._alive = inheritance.alive if inheritance else os.pipe()
        self._watched = notify.watched()
        self._shown = 0.0

    # --- life

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; the exit code. Raises `ConfigurationError`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if self._inheritance is None:
            self._listener = listen(self._conf)
        else:
            self._listener = taken_over(self._conf, self._inheritance.listener)
        # What is there now is shared by all workers, so no collection shall touch its pages.
        memory.stay_small()
        gc.collect()
        gc.freeze()
        self._due = [0.0] * workers_of(self._conf)
        while True:
            self._fork_due()
            number = self._wait()
            if number in STOP:
                return self._stop()
            self._changed |= number == signal.SIGHUP
            self._bury()
            if not self._serving:
                self._begin()
                continue
            if not (self._workers or self._due or self._elders):
                return 1
            self._end_the_silent()
            self._show_life()
            if self._check is not None:
                self._judge(self._check)
            elif self._changed:
                self._changed = False
                notify.reloading()
                self._check = generation.Check()

    def _wait(self) -> int:
        """The signal that has come, 0 for none."""
        hurry = self._due or not self._serving or self._check is not None
        seconds = SOON if hurry else min(SELDOM, self._watched or SELDOM)
        found = signal.sigtimedwait(SIGNALS, seconds)
        return found.si_signo if found is not None else 0

    def _fork_due(self) -> None:
        now = time.monotonic()
        for _ in [one for one in self._due if one <= now]:
            self._fork()
        self._due = [one for one in self._due if one > now]

    def _fork(self) -> None:
        heart = Heart()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.close(self._alive[1])
                notify.forget()
                code = self._run_worker(self._listener, heart, self._alive[0])
            except BaseException:
                LOG.exception('A worker ended')
            finally:
                os._exit(code)
        self._workers[pid] = Child(heart, time.monotonic())

    def _ended(self) -> Iterable[int]:
        """Workers that have ended."""
        for pid in (*self._workers, *self._elders):
            # Each by its id: a check that has ended is not for this.
            with contextlib.suppress(ChildProcessError):
                if not posix.waitpid(pid, os.WNOHANG)[0]:
                    continue
            yield pid

    def _bury(self) -> None:
        for pid in self._ended():
            child = self._workers.pop(pid, None)
            if child is None:
                self._elders.discard(pid)
                continue
            complaint = child.heart.complaint()
            if not self._serving:
                self._fail(complaint or 'A worker ended before it was ready')
                return
            if complaint:
                LOG.error('%s', complaint)
            LOG.error('Worker %d has died and is replaced', pid)
            self._due.append(max(time.monotonic(), child.started + PAUSE))

    def _end_the_silent(self) -> None:
        """End workers whose hub does not come round any more; they are replaced then."""
        limit = self._conf.worker_timeout
        for pid, child in self._workers.items():
            if limit and child.silence() > limit:
                LOG.error('Worker %d has not answered for %d s and is ended', pid, limit)
                _kill(pid, signal.SIGKILL)
                child.started = time.monotonic()

    def _show_life(self) -> None:
        """Tell systemd that all is well; it restarts what it hears nothing of."""
        now = time.monotonic()
        if self._watched is None or now - self._shown < self._watched:
            return
        limit = self._conf.worker_timeout
        if all(child.silence() < limit or not limit for child in self._workers.values()):
            self._shown = now
            notify.alive()

    # --- generations

    def _begin(self) -> None:
        """Serve, once all workers are ready."""
        if self._due or not all(child.heart.last() for child in self._workers.values()):
            return
        self._serving = True
        for pid in self._elders:
            _kill(pid, RETIRE)
        host, port = self._listener.getsockname()[:2]
        LOG.info('Serving on %s:%s with %d workers', host, port, len(self._workers))
        notify.ready(f'Serving on {host}:{port}')

    def _fail(self, problem: str) -> None:
        """The workers of this generation cannot start."""
        for pid in self._workers:
            _kill(pid, signal.SIGKILL)
            posix.waitpid(pid, 0)
        self._workers = {}
        self._due = []
        if self._inheritance is None:
            raise ConfigurationError(problem)
        self._keep(problem)
        if not self._elders:
            raise ConfigurationError(problem)
        # Those of before serve on, and SIGHUP tries again.
        self._serving = True

    def _judge(self, check: generation.Check) -> None:
        """Go on as another generation, if its configuration is well."""
        problem = check.result()
        if problem is None:
            return
        self._check = None
        if not problem:
            try:
                generation.follow(
                    generation.Inheritance(
                        os.getpid(),
                        self._listener.fileno(),
                        self._alive,
                        (*self._workers, *self._elders),
                    )
                )
            except OSError as ex:
                problem = str(ex)
        self._keep(problem)

    def _keep(self, problem: str) -> None:
        LOG.error('The configuration stays as it was: %s', problem)
        notify.ready(f'The new configuration was refused: {problem}')

    # --- the end

    def _stop(self) -> int:
        """Let the workers end, and end those that take too long."""
        grace = self._conf.graceful_shutdown_timeout or float('inf')
        notify.stopping(min(grace, 1e6) + 2 * CLEANUP)
        self._listener.close()
        if self._check is not None:
            self._check.stop()
        self._tell_all(END)
        deadline = time.monotonic() + grace + 2 * CLEANUP
        while self._workers or self._elders:
            found = signal.sigtimedwait(SIGNALS, min(SELDOM, self._watched or SELDOM))
            notify.alive()
            if found is not None and found.si_signo in STOP:
                self._tell_all(CUT)
                deadline = min(deadline, time.monotonic() + CLEANUP + 1)
            for pid in self._ended():
                self._workers.pop(pid, None)
                self._elders.discard(pid)
            if time.monotonic() > deadline:
                self._tell_all(signal.SIGKILL)
        return 0

    def _tell_all(self, number: int) -> None:
        for pid in (*self._workers, *self._elders):
            _kill(pid, number)


def stay(inheritance: generation.Inheritance, problem: str) -> int:
    """For a new generation that could not even be built: let the one before serve on.

    Its check was well, so this is a file that has changed since. SIGHUP tries again.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    notify.ready(f'The new configuration was refused: {problem}')
    workers = set(inheritance.workers)
    order = END
    while workers:
        found = signal.sigtimedwait(SIGNALS, min(SELDOM, notify.watched() or SELDOM))
        notify.alive()
        number = found.si_signo if found is not None else 0
        if number == signal.SIGHUP:
            notify.reloading()
            generation.follow(dataclasses.replace(inheritance, workers=tuple(workers)))
        for pid in tuple(workers):
            if number in STOP:
                _kill(pid, order)
            if posix.waitpid(pid, os.WNOHANG)[0]:
                workers.discard(pid)
        if number in STOP:
            notify.tell('STOPPING=1')
            order = CUT
    return int(order == END)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
