# SPDX-License-Identifier: Apache-2.0
"""The key manager (Barbican, Vault, ...) that ``[key_manager]`` names, through castellan.

castellan comes with the extra ``signatures``; without it this module cannot be imported. Callers
are known to the key manager by their own token, as in Glance: what they may not have there they
do not get here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import castellan.key_manager
from castellan.common import exception

from glance_lite.errors import ConfigurationError, Forbidden, NotFound, Unavailable

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext

LOG = logging.getLogger(__name__)

T = TypeVar('T')

#: Seconds until an answer of the key manager is not waited for any longer. castellan has no limit.
PATIENCE = 20
#: Most questions at once: one that is not waited for any longer counts until it is answered.
MOST = 16
#: Seconds after which a client may ask again.
RETRY_AFTER = 10

#: Statuses of 400 to 499 that say nothing about what was asked for.
_LATER = (408, 425, 429)


class KeyManager:
    """Asks with the token of the caller. All raise `NotFound`, `Forbidden`, `Unavailable`."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Raises `ConfigurationError` when castellan does not take the configuration."""
        try:
            self._api: Any = castellan.key_manager.API(conf)
        except Exception as ex:
            # Whatever a driver that an operator has named comes up with.
            raise ConfigurationError(
                f'[key_manager] backend: {type(ex).__name__}: {" ".join(str(ex).split())}'
            ) from ex
        self._free = threading.BoundedSemaphore(MOST)

    def get(self, ctx: RequestContext, secret_id: str) -> Any:
        """What is kept under an id, as an object of castellan's."""
        return self._ask(ctx, secret_id, self._api.get)

    def delete(self, ctx: RequestContext, secret_id: str) -> None:
        """Forget a secret. `Unavailable`: it may still be forgotten, later."""
        self._ask(ctx, secret_id, self._api.delete)

    def _ask(self, ctx: RequestContext, secret_id: str, question: Callable[[Any, str], T]) -> T:
        if not secret_id:
            raise NotFound('There is no id')
        try:
            return self._bounded(ctx, lambda: question(ctx, secret_id))
        except Unavailable:
            raise
        except Exception as ex:
            # castellan names some errors, and lets pass what its drivers do not expect, such as
            # an id that is none.
            raise _told(ex) from ex

    def _bounded(self, ctx: RequestContext, question: Callable[[], T]) -> T:
        """The answer, in a thread of its own: of threading's, as green as what castellan uses."""
        if not self._free.acquire(blocking=False):
            raise Unavailable('Too many wait for the key manager', RETRY_AFTER)
        answered = threading.Event()
        answers: list[T] = []
        errors: list[Exception] = []

        def ask() -> None:
            ctx.update_store()  # lines of the log carry the request's id
            try:
                answers.append(question())
            except Exception as ex:
                errors.append(ex)
            finally:
                self._free.release()
                answered.set()

        try:
            threading.Thread(target=ask, name='key manager', daemon=True).start()
        except BaseException:
            self._free.release()
            raise
        if not answered.wait(PATIENCE):
            raise Unavailable('The key manager does not answer', RETRY_AFTER)
        for error in errors:
            raise error
        return answers[0]


def _told(error: Exception) -> NotFound | Forbidden | Unavailable:
    """What is behind an error of castellan's, which often says no more than that there was one."""
    # Those that it does not make itself: the id is none, or what it leads to is empty.
    unexpected = type(error) in (KeyError, TypeError, ValueError)
    if unexpected or isinstance(error, exception.ManagedObjectNotFoundError):
        return NotFound('The key manager has no such thing under this id')
    for ex in _causes(error):
        status = getattr(ex, 'status_code', None) or getattr(ex, 'http_status', None)
        refused = isinstance(status, int) and 400 <= status < 500 and status not in _LATER
        if refused or isinstance(ex, exception.Forbidden):
            return Forbidden('The key manager does not give this to the caller')
    LOG.error('The key manager cannot be used: %s: %s', type(error).__name__, error)
    return Unavailable('The key manager is out of order', RETRY_AFTER)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
