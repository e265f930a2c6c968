# SPDX-License-Identifier: Apache-2.0
"""Why the policy allows or refuses something, down to the part of the check that decides.

The answers are those of `glance_lite.policy.compile`: each part of a check is compiled and asked,
in the order and as far as the service would ask it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oslo_policy import _checks

from glance_lite.errors import Unavailable
from glance_lite.policy.compile import (
    Compiler,
    Credentials,
    Target,
    Undecidable,
    in_scope,
    scopes_of,
)

if TYPE_CHECKING:
    from glance_lite.policy.enforcer import Enforcer

DEFAULT = 'default'

_KEY = re.compile(r'%\(([^()%]+)\)')
_USER = re.compile(r'(//)[^/@\s]*@')
_QUERY = re.compile(r'(//[^\s?]*\?)[^\s)]*')


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a check. `allows` is None where it was not asked, or could not be decided."""

    check: str
    allows: bool | None
    reason: str = ''
    parts: tuple[Part, ...] = ()


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What one rule says of one caller and one target."""

    rule: str
    allowed: bool
    #: the check as it is written
    check: str
    #: the file it is from, or `DEFAULT`
    source: str
    part: Part
    #: what the check asks for of the target, as far as it is there
    target: Mapping[str, str]


class Explainer:
    """Explains the rules that `enforcer` has in force."""

    def __init__(self, enforcer: Enforcer) -> None:
        self._oslo = enforcer.loaded.oslo
        self._sources: dict[str, tuple[str, Any]] = {}
        for file in enforcer.files.read():
            for name, check in file.rules.items():
                self._sources[name] = (file.path, check)

    def explain(self, rule: str, target: Target, creds: Credentials) -> Explanation:
        """What `rule` says, and why."""
        walk = _Walk(self, self._oslo, rule, target, creds)
        scopes = scopes_of(self._oslo, rule)
        if in_scope(scopes, creds):
            part = walk.rule(rule)
        else:
            wanted = ' or '.join(sorted(scopes))
            part = Part(
                f'scope:{wanted}', False, f'the token of the caller is for none of: {wanted}'
            )
        source, check = self.source(rule)
        return Explanation(rule, part.allows is True, check, source, part, walk.used)

    def source(self, rule: str) -> tuple[str, str]:
        """(file or `DEFAULT`, check) of a rule; an undefined one is what the default rule says."""
        if rule in self._sources:
            path, check = self._sources[rule]
            return path, shown(check if isinstance(check, str) else self._oslo.rules[rule])
        if rule not in self._oslo.rules:
            return self.source('default')
        registered = self._oslo.registered_rules[rule]
        check = self._oslo.rules[rule]
        # With the old defaults it is more than what is registered.
        return DEFAULT, registered.check_str if check is registered.check else str(check)


class _Walk:
    """One way through the tree of a check, noting what is asked for."""

    def __init__(
        self, explainer: Explainer, oslo: Any, current: str, target: Target, creds: Credentials
    ) -> None:
        self._explainer = explainer
        self._oslo = oslo
        self._compiler = Compiler(oslo, current)
        self._target = target
        self._creds = creds
        self._under_way: list[str] = []
        self.used: dict[str, str] = {}

    def rule(self, name: str) -> Part:
        """A rule by its name, with the check it stands for."""
        text = f'rule:{name}'
        source, _ = self._explainer.source(name)
        reason = f'from {source}' if name in self._oslo.rules else f'undefined; default {source}'
        if name in self._under_way:
            return Part(text, None, 'needs itself')
        try:
            check = self._oslo.rules[name]
        except KeyError:
            return Part(text, False, 'undefined')
        self._under_way.append(name)
        part = self._check(check)
        self._under_way.pop()
        return Part(text, part.allows, reason, (part,))

    def _check(self, check: Any) -> Part:
        kind = type(check)
        if kind is _checks.RuleCheck:
            return self.rule(check.match)
        if kind is _checks.NotCheck:
            part = self._check(check.rule)
            return Part('not', None if part.allows is None else not part.allows, '', (part,))
        if kind is _checks.AndCheck:
            return self._several('all of', check.rules, ends=False)
        if kind is _checks.OrCheck:
            return self._several('any of', check.rules, ends=True)
        return self._leaf(check)

    def _several(self, text: str, checks: list[Any], ends: bool) -> Part:
        """Parts in order, until one decides: the first that is `ends`, or cannot be decided."""
        parts: list[Part] = []
        allows: bool | None = not ends
        for number, check in enumerate(checks):
            parts.append(self._check(check))
            if parts[-1].allows is not allows:
                allows = parts[-1].allows
                parts += [Part(_text(rest), None, 'not asked') for rest in checks[number + 1 :]]
                break
        return Part(text, allows, '', tuple(parts))

    def _leaf(self, check: Any) -> Part:
        try:
            allows: bool | None = self._compiler.check(check)(self._target, self._creds)
            reason = self._reason(check)
        except Unavailable:
            allows, reason = None, 'the check failed; requests are answered with 503'
        except Undecidable as ex:
            allows, reason = None, f'cannot be decided: {ex}'
        except (TypeError, ValueError, AttributeError, LookupError) as ex:
            allows, reason = None, f'cannot be decided: {type(ex).__name__}: {ex}'
        return Part(_text(check), allows, reason)

    def _reason(self, check: Any) -> str:
        """The values that were compared."""
        kind, match = getattr(check, 'kind', None), str(getattr(check, 'match', ''))
        said = []
        if kind == 'role':
            said.append(f'roles of the caller: {", ".join(self._creds.get("roles", ())) or "none"}')
        elif type(check) is _checks.GenericCheck and kind is not None:
            name = kind.partition('.')[0]
            if name in self._creds:
                said.append(f'{name} of the caller: {self._creds[name]}')
            elif name.isidentifier() and name not in ('None', 'True', 'False'):
                said.append(f'the caller has no {name}')
        for key in _KEY.findall(match):
            try:
                self.used[key] = str(self._target[key])
            except KeyError:
                said.append(f'the target has no {key}')
            else:
                said.append(f'{key} of the target: {self.used[key]}')
        return '; '.join(said)


def _text(check: Any) -> str:
    """A check on one line; of several, what joins them."""
    if isinstance(check, (_checks.AndCheck, _checks.OrCheck, _checks.NotCheck)):
        return shown(check)
    return shown({'@': '@ (everybody)', '!': '! (nobody)'}.get(str(check), str(check)))


def shown(check: Any) -> str:
    """A check without what a url in it may hold for its server only."""
    return _QUERY.sub(r'\1***', _USER.sub(r'\1***@', ' '.join(str(check).split())))
