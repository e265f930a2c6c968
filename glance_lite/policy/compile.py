# SPDX-License-Identifier: Apache-2.0
"""Parsed oslo.policy rules made into closures.

oslo.policy looks at a check's signature and walks a tree of objects each time it is asked; in a
list of a hundred images most of Glance's time goes there. Here each tree is turned into nested
functions once, when the rules change. The answers are the same, which a test compares over all
rules, roles and targets. A kind of check that is not known here is handed to oslo.policy.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

from oslo_policy import _checks, policy

Target = Mapping[str, Any]
Credentials = Mapping[str, Any]
Decision = Callable[[Target, Credentials], bool]

_ONE_KEY = re.compile(r'%\(([^()%]+)\)s')


def _yes(target: Target, creds: Credentials) -> bool:
    return True


def _no(target: Target, creds: Credentials) -> bool:
    return False


class Compiler:
    """Turns the rules of one `policy.Enforcer` into decisions, by name, on demand."""

    def __init__(self, enforcer: policy.Enforcer) -> None:
        self._enforcer = enforcer
        self._rules = enforcer.rules
        self._done: dict[str, Decision] = {}
        self._under_way: set[str] = set()

    def rule(self, name: str) -> Decision:
        """What `name` decides; an undefined name is what the default rule says, or no."""
        if name in self._done:
            return self._done[name]
        if name in self._under_way:
            return _no  # a rule that needs itself allows nothing
        self._under_way.add(name)
        try:
            check = self._rules[name]
        except KeyError:
            decision: Decision = _no
        else:
            decision = self._check(check)
        self._under_way.discard(name)
        self._done[name] = decision
        return decision

    def scoped(self, name: str) -> Decision:
        """As `rule`, with the scope of the token checked first, where the rule has scopes."""
        decision = self.rule(name)
        registered = self._enforcer.registered_rules.get(name)
        scopes = registered.scope_types if registered else None
        if not scopes:
            return decision
        allowed = frozenset(scopes)

        def decide(target: Target, creds: Credentials) -> bool:
            if creds.get('system') or creds.get('system_scope'):
                scope = 'system'
            elif creds.get('domain_id'):
                scope = 'domain'
            else:
                scope = 'project'
            return scope in allowed and decision(target, creds)

        return decide

    def _check(self, check: Any) -> Decision:
        kind = type(check)
        if kind is _checks.TrueCheck:
            return _yes
        if kind is _checks.FalseCheck:
            return _no
        if kind is _checks.RuleCheck:
            return self.rule(check.match)
        if kind is _checks.NotCheck:
            inner = self._check(check.rule)
            return lambda target, creds: not inner(target, creds)
        if kind is _checks.AndCheck:
            return _all(tuple(self._check(rule) for rule in check.rules))
        if kind is _checks.OrCheck:
            return _any(tuple(self._check(rule) for rule in check.rules))
        if kind is _checks.RoleCheck:
            return _role(check.match)
        if kind is _checks.GenericCheck:
            return _generic(check.kind, check.match)
        enforcer = self._enforcer
        return lambda target, creds: bool(enforcer.enforce(check, target, dict(creds)))


def _all(decisions: tuple[Decision, ...]) -> Decision:
    if len(decisions) == 2:
        first, second = decisions
        return lambda target, creds: first(target, creds) and second(target, creds)

    def decide(target: Target, creds: Credentials) -> bool:
        for decision in decisions:  # noqa: SIM110 - PERF: a generator is a call more each
            if not decision(target, creds):
                return False
        return True

    return decide


def _any(decisions: tuple[Decision, ...]) -> Decision:
    if len(decisions) == 2:
        first, second = decisions
        return lambda target, creds: first(target, creds) or second(target, creds)

    def decide(target: Target, creds: Credentials) -> bool:
        for decision in decisions:  # noqa: SIM110 - PERF: a generator is a call more each
            if decision(target, creds):
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
    try:
        literal = str(ast.literal_eval(kind))
    except ValueError:
        return _credential(kind.split('.'), value)
    except SyntaxError:
        # oslo.policy lets this one escape: nothing is allowed by what cannot be read.
        return _no

    def decide(target: Target, creds: Credentials) -> bool:
        try:
            return value(target) == literal
        except KeyError:
            return False

    return decide


def _credential(path: list[str], value: Callable[[Target], str]) -> Decision:
    if len(path) > 1:

        def deep(target: Target, creds: Credentials) -> bool:
            try:
                return _find(creds, path, value(target))
            except KeyError:
                return False

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
    found = found[path[0]]
    if isinstance(found, list):
        return any(_find(item, path[1:], wanted) for item in found)
    return _find(found, path[1:], wanted)
