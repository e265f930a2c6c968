# SPDX-License-Identifier: Apache-2.0
"""Decides whether a caller may do something, by the policy files.

oslo.policy owns the language, the defaults and the files. Here the files are looked at every few
seconds; when one has changed, all rules are read and compiled anew and swapped in at once.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oslo_policy import policy

from glance_lite.errors import ConfigurationError, Forbidden
from glance_lite.policy import list_rules
from glance_lite.policy.compile import Decision, decision
from glance_lite.policy.files import Files, Stamp

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext

LOG = logging.getLogger(__name__)

#: Seconds within which a change of the policy files is seen. To look costs some hundred Python
#: calls and a stat of each file, and a file may lie on a disk that does not answer at once.
INTERVAL = 2.0


@dataclasses.dataclass(frozen=True)
class Loaded:
    """The rules of one state of the files."""

    oslo: policy.Enforcer
    #: names of the rules that the operator's files have
    own: frozenset[str]
    #: by name of the rule, with scopes
    decisions: dict[str, Decision]
    #: by name of the rule, without; filled on demand
    plain: dict[str, Decision] = dataclasses.field(default_factory=dict)

    def defines(self, rule: str) -> bool:
        """Whether anybody has said what `rule` means, be it as the default for all other names."""
        return rule in self.oslo.rules or 'default' in self.own


class Enforcer:
    """The rules of the service, always the last ones that could be read."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self.files = Files(conf)
        self._problem: str | None = None
        self._next_look = 0.0
        self._stamp: Stamp = ()
        self._looking = threading.Lock()
        self.names = frozenset(rule.name for rule in list_rules())
        #: Ownership is asked for beside the rules where the old defaults count, as in Glance.
        self.owner_matters: bool = not conf.oslo_policy.enforce_new_defaults
        self._swap(Loaded(self._new(), frozenset(), {}))

    def _new(self) -> policy.Enforcer:
        oslo = policy.Enforcer(self._conf)
        # A default that became stricter is the documentation's business, not the log's.
        oslo.suppress_default_change_warnings = True
        oslo.register_defaults(list_rules())
        return oslo

    def start(self) -> None:
        """Read the files. Raises `ConfigurationError` in one sentence that names the file."""
        self._next_look, self._stamp = time.monotonic() + INTERVAL, self.files.stamp()
        self._swap(self._load())

    def _load(self) -> Loaded:
        """The rules as the files say them now.

        Always a new enforcer of oslo.policy's: one that has failed half-way goes on with half of
        the rules.
        """
        self.files.read()  # says better than oslo.policy what is wrong, and where
        oslo = self._new()
        try:
            oslo.load_rules(force_reload=True)
        except Exception as ex:
            # It does not say what it raises, and means files that cannot be used.
            options = self._conf.oslo_policy
            where = ' or '.join([str(options.policy_file), *options.policy_dirs])
            reason = ' '.join(str(ex).split())
            raise ConfigurationError(
                f'[oslo_policy] policy_file: {where} cannot be used: {reason}'
            ) from ex
        # Checks of others ask it, and it must not look for files then.
        oslo.use_conf = False
        decisions = {name: decision(oslo, name) for name in self.names}
        return Loaded(oslo, frozenset(oslo.file_rules), decisions)

    def _swap(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.own = loaded.own

    def begin(self, ctx: RequestContext) -> Mapping[str, Any]:
        """See whether the files have changed, and what the caller is known by. Once a request."""
        if time.monotonic() >= self._next_look and self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looking.release()
        ctx.credentials = credentials = dict(ctx.to_policy_values())
        return credentials

    def _look(self) -> None:
        """Have the files read again if they have changed; else, and until then, all stays."""
        self._next_look = time.monotonic() + INTERVAL
        stamp = self.files.stamp()
        if stamp == self._stamp:
            return
        # Before they are read: what is written meanwhile is seen the next time.
        self._stamp = stamp
        try:
            loaded = self._load()
        except ConfigurationError as ex:
            self._problem = ex.message
            LOG.error('%s; the last rules that could be read stay in force', ex.message)
        else:
            self._swap(loaded)
            self._problem = None
            LOG.info('The policy files have changed and were read again')

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
        loaded = self.loaded
        decide = loaded.decisions.get(rule)
        if decide is None:
            decide = loaded.decisions[rule] = decision(loaded.oslo, rule)
        return decide(target, credentials)

    def passes(self, ctx: RequestContext, rule: str) -> bool:
        """Whether `rule` is true of the caller as such, whatever the scope of its token.

        For rules that property protections name: as in Glance, the roles of a service that asks
        for somebody count as well. What nobody has defined is nobody's.
        """
        credentials = ctx.credentials
        if credentials is None:
            credentials = self.begin(ctx)
        if ctx.service_roles:
            credentials = {**credentials, 'roles': [*ctx.roles, *ctx.service_roles]}
        loaded = self.loaded
        decide = loaded.plain.get(rule)
        if decide is None:
            if not loaded.defines(rule):
                return False
            decide = loaded.plain[rule] = decision(loaded.oslo, rule, scoped=False)
        return decide({}, credentials)

    def enforce(self, ctx: RequestContext, rule: str, target: Mapping[str, Any]) -> None:
        """Raises `Forbidden` unless `rule` allows it."""
        if not self.allowed(ctx, rule, target):
            raise Forbidden(f'You are not allowed to do this ({rule})')

    def is_admin(self, ctx: RequestContext) -> bool:
        """What ``context_is_admin`` says of a caller."""
        return self.allowed(ctx, 'context_is_admin', ctx.credentials or self.begin(ctx))

    def check(self) -> str | None:
        """None, or why the files of today are not those in force."""
        return self._problem
