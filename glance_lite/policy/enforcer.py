# SPDX-License-Identifier: Apache-2.0
"""Decides whether a caller may do something, by the policy files.

oslo.policy owns the language, the defaults and the files. Files are looked at once per request;
when the rules have changed they are compiled anew and swapped in at once.
"""

from __future__ import annotations

import logging
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


class Enforcer:
    """The rules of the service, always the last ones that could be read."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._oslo = self._new()
        self._source: Any = None
        self._decisions: dict[str, Decision] = {}
        self._compiler = Compiler(self._oslo)
        self._problem: str | None = None
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
            self._source = self._oslo.rules
            # oslo.policy reads a broken file once; only new rules say that it is well again.
            self._problem = None

    def begin(self, ctx: RequestContext) -> Mapping[str, Any]:
        """See whether the files have changed, and what the caller is known by. Once a request."""
        try:
            self._oslo.load_rules()
            self._swap()
        except Exception as ex:
            if self._problem is None:
                self._problem = self._sentence(ex)
                LOG.error('%s; the last rules that could be read stay in force', self._problem)
        ctx.credentials = credentials = dict(ctx.to_policy_values())
        return credentials

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

    def defined(self, rule: str) -> bool:
        """Whether a rule of that name exists in files or defaults."""
        return rule in self._oslo.rules

    def check(self) -> str | None:
        """None, or why the files of today are not those in force."""
        return self._problem
