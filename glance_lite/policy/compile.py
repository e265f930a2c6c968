# SPDX-License-Identifier: Apache-2.0
"""Parsed oslo.policy rules made into closures.

oslo.policy looks at a check's signature and walks a tree of objects each time it is asked; in a
list of a hundred images most of Glance's time goes there. Here each tree is turned into nested
functions once, when the rules change. The answers are the same, which a test compares over all
rules, roles and targets. A kind of check that is not known here is called as oslo.policy calls it.

Where oslo.policy ends in a traceback (a rule that needs itself, a check that cannot be read, a
format that does not fit) the answer is no.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from oslo_policy import _checks, _external, policy
from oslo_serialization import jsonutils

from glance_lite.errors import Unavailable
from glance_lite.policy.target import Target as ImageTarget

LOG = logging.getLogger(__name__)

Target = Mapping[str, Any]
Credentials = Mapping[str, Any]
Decision = Callable[[Target, Credentials], bool]

_ONE_KEY = re.compile(r'%\(([^()%]+)\)s')


class Undecidable(Exception):
    """A check that says neither yes nor no; what needs it is refused."""


def _yes(target: Target, creds: Credentials) -> bool:
    return True


def _no(target: Target, creds: Credentials) -> bool:
    return False


def _scope(creds: Credentials) -> str:
    """What the caller's token is for."""
    if creds.get('system') or creds.get('system_scope'):
        return 'system'
    return 'domain' if creds.get('domain_id') else 'project'


def scopes_of(enforcer: policy.Enforcer, name: str) -> frozenset[str]:
    """The scopes of tokens that may do this; empty: any may."""
    options = enforcer.conf.oslo_policy
    # Releases of oslo.policy that still have the option only warn where it is off.
    if 'enforce_scope' in options and not options.enforce_scope:
        return frozenset()
    registered = enforcer.registered_rules.get(name)
    return frozenset((registered and registered.scope_types) or ())


def in_scope(scopes: frozenset[str], creds: Credentials) -> bool:
    return not scopes or _scope(creds) in scopes


def decision(enforcer: policy.Enforcer, name: str, scoped: bool = True) -> Decision:
    """What `name` decides; an undefined name is what the default rule says, or no.

    `scoped`: the scope of the token is checked first, where the rule has scopes.
    """
    decide = Compiler(enforcer, name).rule(name)
    scopes = scopes_of(enforcer, name) if scoped else frozenset()

    def decided(target: Target, creds: Credentials) -> bool:
        if scopes and _scope(creds) not in scopes:
            return False
        try:
            return decide(target, creds)
        except Unavailable:
            raise
        except Exception as ex:
            # As many kinds as there are ways to write a check that does not fit what it is about.
            LOG.error('Policy rule %s cannot be decided: %s: %s', name, type(ex).__name__, ex)
            return False

    return decided


class Compiler:
    """Turns one rule of a `policy.Enforcer`, and all that it refers to, into a decision."""

    def __init__(self, enforcer: policy.Enforcer, current: str) -> None:
        self._enforcer = enforcer
        #: the rule that is asked for, which checks of others are told
        self._current = current
        self._done: dict[str, Decision] = {}
        self._under_way: set[str] = set()

    def rule(self, name: str) -> Decision:
        """What `name` decides, without regard to scopes."""
        if name in self._done:
            return self._done[name]
        if name in self._under_way:
            return _undecidable(f'{name} needs itself')
        self._under_way.add(name)
        try:
            check = self._enforcer.rules[name]
        except KeyError:
            decide: Decision = _no
        else:
            decide = self.check(check)
        self._under_way.discard(name)
        self._done[name] = decide
        return decide

    def check(self, check: Any) -> Decision:
        """What a parsed check decides."""
        kind = type(check)
        if kind is _checks.TrueCheck:
            return _yes
        if kind is _checks.FalseCheck:
            return _no
        if kind is _checks.RuleCheck:
            return self.rule(check.match)
        if kind is _checks.NotCheck:
            inner = self.check(check.rule)
            return lambda target, creds: not inner(target, creds)
        if kind is _checks.AndCheck:
            return _all(tuple(self.check(rule) for rule in check.rules))
        if kind is _checks.OrCheck:
            return _any(tuple(self.check(rule) for rule in check.rules))
        if kind is _checks.RoleCheck:
            return _role(check.match)
        if kind is _checks.GenericCheck:
            return _generic(check.kind, check.match)
        return foreign(check, self._enforcer, self._current)


def foreign(check: Any, enforcer: policy.Enforcer, current: str) -> Decision:
    """A check of somebody else's, called as oslo.policy calls it.

    It is given the whole of an image. What it fails with is logged, and the caller is told to come
    again (`Unavailable`): a server that decides may be down.
    """
    remote = isinstance(check, _external.HttpCheck)

    def decide(target: Target, creds: Credentials) -> bool:
        whole: Any = target.whole() if isinstance(target, ImageTarget) else dict(target)
        if remote:
            whole = jsonutils.to_primitive(whole)
        try:
            return bool(_checks._check(check, whole, dict(creds), enforcer, current))
        except KeyError as ex:
            raise Undecidable(f'there is no {ex} in what it is about') from ex
        except Exception as ex:
            # The url of a check may hold a password, and the text of an error the url.
            LOG.error('Policy rule %s: a check failed with %s', current, type(ex).__name__)
            raise Unavailable('What the policy says cannot be found out at present') from ex

    return decide


def _undecidable(reason: str) -> Decision:
    def decide(target: Target, creds: Credentials) -> bool:
        raise Undecidable(reason)

    return decide


def _all(decisions: tuple[Decision, ...]) -> Decision:
    if len(decisions) == 2:
        first, second = decisions
        return lambda target, creds: first(target, creds) and second(target, creds)

    def decide(target: Target, creds: Credentials) -> bool:
        for part in decisions:  # noqa: SIM110 - PERF: a generator is a call more each
            if not part(target, creds):
                return False
        return True

    return decide


def _any(decisions: tuple[Decision, ...]) -> Decision:
    if len(decisions) == 2:
        first, second = decisions
        return lambda target, creds: first(target, creds) or second(target, creds)

    def decide(target: Target, creds: Credentials) -> bool:
        for part in decisions:  # noqa: SIM110 - PERF: a generator is a call more each
            if part(target, creds):
                return True
        return False

    return decide


def _role(match: str) -> Decision:
    if '%' not in match:
        role = match.lower()
        # The roles of a context are lower case from the start.
        return lambda target, creds: role in creds.get('roles', ())

    def decide(target: Target, creds: Credentials) -> bool:
        try:
            wanted = match % target
        except KeyError:
            return False
        return wanted.lower() in creds.get('roles', ())

    return decide


def _value(match: str) -> Callable[[Target], str]:
    """What a match says of a target; `KeyError` when the target has no such thing."""
    if '%' not in match:
        return lambda target: match
    single = _ONE_KEY.fullmatch(match)
    if single:
        key = single[1]
        return lambda target: str(target[key])
    return lambda target: match % target


def _generic(kind: str, match: str) -> Decision:
    value = _value(match)
    unreadable = False
    literal = ''
    try:
        literal = str(ast.literal_eval(kind))
    except ValueError:
        return _credential(kind.split('.'), value)
    except SyntaxError:
        unreadable = True

    def decide(target: Target, creds: Credentials) -> bool:
        try:
            wanted = value(target)
        except KeyError:
            return False
        if unreadable:
            raise Undecidable(f'{kind} can be read neither as a value nor as a name')
        return wanted == literal

    return decide


def _credential(path: list[str], value: Callable[[Target], str]) -> Decision:
    if len(path) > 1:

        def deep(target: Target, creds: Credentials) -> bool:
            try:
                wanted = value(target)
            except KeyError:
                return False
            return _find(creds, path, wanted)

        return deep
    (key,) = path

    def decide(target: Target, creds: Credentials) -> bool:
        try:
            wanted = value(target)
            found = creds[key]
        except KeyError:
            return False
        if isinstance(found, list):
            return any(str(item) == wanted for item in found)
        return str(found) == wanted

    return decide


def _find(found: Any, path: list[str], wanted: str) -> bool:
    if not path:
        return str(found) == wanted
    try:
        found = found[path[0]]
    except KeyError:
        return False
    if isinstance(found, list):
        return any(_find(item, path[1:], wanted) for item in found)
    return _find(found, path[1:], wanted)
