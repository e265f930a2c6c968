# SPDX-License-Identifier: Apache-2.0
"""Decides whether a caller may do something, by the policy files.

oslo.policy owns the language, the defaults and the files. Files are looked at once per request;
when the rules have changed they are compiled anew and swapped in at once.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oslo_policy import policy

from glance_lite.errors import ConfigurationError, Forbidden
from glance_lite.policy import list_rules
from glance_lite.policy.compile import Compiler, Decision

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext

LOG = logging.getLogger(__name__)


#: Seconds within which a new policy file is seen.
INTERVAL = 1.0


class Enforcer:
    """The rules of the service, always the last ones that could be read."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._oslo = self._new()
        self._source: Any = None
        self._decisions: dict[str, Decision] = {}
        #: names of the rules that the operator's files have
        self.own: frozenset[str] = frozenset()
        self._compiler = Compiler(self._oslo)
        self._problem: str | None = None
        self._next_look = 0.0
        self._seen: tuple[int, int, int] | None = None
        self.names = frozenset(rule.name for rule in list_rules())
        #: Ownership is asked for beside the rules where the old defaults count, as in Glance.
        self.owner_matters: bool = not conf.oslo_policy.enforce_new_defaults

    def _new(self) -> policy.Enforcer:
        oslo = policy.Enforcer(self._conf)
        # A default that became stricter is the documentation's business, not the log's.
        oslo.suppress_default_change_warnings = True
        oslo.register_defaults(list_rules())
        return oslo

    def start(self) -> None:
        """Read the files. Raises `ConfigurationError` in one sentence that names the file."""
        try:
            self._oslo.load_rules()
        except Exception as ex:
            raise ConfigurationError(self._sentence(ex)) from ex
        self._swap()

    def _sentence(self, ex: Exception) -> str:
        oslo_policy = self._conf.oslo_policy
        file = self._oslo.policy_path or oslo_policy.policy_file
        where = ' or '.join([str(file), *oslo_policy.policy_dirs])
        return ' '.join(f'[oslo_policy] policy_file: {where} cannot be read: {ex}'.split())

    def _swap(self) -> None:
        if self._oslo.rules is not self._source:
            compiler = Compiler(self._oslo)
            decisions = {name: compiler.scoped(name) for name in self.names}
            # Both are complete before anybody sees them.
            self._compiler, self._decisions = compiler, decisions
            self.own = frozenset(self._oslo.file_rules)
            self._source = self._oslo.rules
            # oslo.policy reads a broken file once; only new rules say that it is well again.
            self._problem = None

    def begin(self, ctx: RequestContext) -> Mapping[str, Any]:
        """See whether the files have changed, and what the caller is known by. Once a request."""
        self._look()
        ctx.credentials = credentials = dict(ctx.to_policy_values())
        return credentials

    def _look(self) -> None:
        """Have the files read again when they may have changed.

        PERF: oslo.policy looks for every file and directory anew (320 Python calls). A file that
        is in use is looked at in each request; one that comes new is seen within `INTERVAL`.
        """
        now, stamp = time.monotonic(), self._stamp()
        if now < self._next_look and stamp == self._seen:
            return
        try:
            self._oslo.load_rules()
            self._swap()
        except Exception as ex:
            if self._problem is None:
                self._problem = self._sentence(ex)
                LOG.error('%s; the last rules that could be read stay in force', self._problem)
        self._next_look, self._seen = now + INTERVAL, stamp

    def _stamp(self) -> tuple[int, int, int] | None:
        path = self._oslo.policy_path
        try:
            found = os.stat(path) if path else None
        except OSError:
            found = None
        return found and (found.st_mtime_ns, found.st_size, found.st_ino)

    def admit(self, ctx: RequestContext) -> None:
        """Begin a request: the rules of today, and whether its caller is an administrator."""
        self.begin(ctx)
        if self.is_admin(ctx):
            ctx.is_admin = True
            # Rules may ask for it as well.
            ctx.credentials = {**(ctx.credentials or {}), 'is_admin': True}

    def allowed(self, ctx: RequestContext, rule: str, target: Mapping[str, Any]) -> bool:
        """Whether `rule` lets this caller do something to `target`."""
        credentials = ctx.credentials
        if credentials is None:
            credentials = self.begin(ctx)
        decide = self._decisions.get(rule)
        if decide is None:
            # Named by an operator's file only, for example in property protections.
            decide = self._decisions[rule] = self._compiler.scoped(rule)
        return decide(target, credentials)

    def enforce(self, ctx: RequestContext, rule: str, target: Mapping[str, Any]) -> None:
        """Raises `Forbidden` unless `rule` allows it."""
        if not self.allowed(ctx, rule, target):
            raise Forbidden(f'You are not allowed to do this ({rule})')

    def is_admin(self, ctx: RequestContext) -> bool:
        """What ``context_is_admin`` says of a caller."""
        return self.allowed(ctx, 'context_is_admin', {'project_id': ctx.project_id})

    def check(self) -> str | None:
        """None, or why the files of today are not those in force."""
        return self._problem
