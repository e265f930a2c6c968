# SPDX-License-Identifier: Apache-2.0
"""A property protection file, compiled: who may do what with which custom properties.

The file is Glance's: sections are regular expressions on property names, the first that is found
in a name decides, and a property that none matches is nobody's.
"""

from __future__ import annotations

import configparser
import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from glance_lite.errors import ConfigurationError
from glance_lite.model import RESERVED_PREFIX

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.policy.enforcer import Enforcer

OPERATIONS = ('create', 'read', 'update', 'delete')

#: May this caller?
Test = Callable[['RequestContext'], bool]


@dataclasses.dataclass(frozen=True)
class Section:
    """One regular expression and who may do what with the properties it matches."""

    pattern: re.Pattern[str]
    tests: Mapping[str, Test]


class Readable(dict[str, bool]):
    """Name of a property -> whether one caller may read it, found out once for each name."""

    def __init__(self, rules: Protections, ctx: RequestContext) -> None:
        self._rules = rules
        self._ctx = ctx

    def __missing__(self, name: str) -> bool:
        self[name] = answer = self._rules.allowed(self._ctx, 'read', name)
        return answer


class Protections:
    """The file at `path`. Raises `ConfigurationError` that names file, line and section."""

    def __init__(self, path: str, rule_format: str, enforcer: Enforcer) -> None:
        self._path = path
        self._policies = rule_format == 'policies'
        self._enforcer = enforcer
        #: (line, section and operation, rule) of the policy rules that the file names
        self._named: list[tuple[int, str, str]] = []
        self._lines: Mapping[tuple[str, str], int] = {}
        self._sections = self._read()
        self._find = functools.lru_cache(maxsize=4096)(self._search)

    def start(self) -> None:
        """Look at the policy rules the file names, once the policy files have been read.

        oslo.policy would let everybody through where a rule is not there.
        """
        for line, where, rule in self._named:
            if not self._enforcer.loaded.defines(rule):
                raise self._wrong(f'{where}: there is no policy rule {rule}', line)

    def allowed(self, ctx: RequestContext, operation: str, name: str) -> bool:
        """Whether the caller may do `operation` with the property `name`."""
        if name.startswith(RESERVED_PREFIX):
            return True  # the service's own; clients are kept from them elsewhere
        section = self._find(name)
        return section is not None and section.tests[operation](ctx)

    def _search(self, name: str) -> Section | None:
        return next((found for found in self._sections if found.pattern.search(name)), None)

    # --- reading the file

    def _wrong(self, reason: str, line: int | None = None) -> ConfigurationError:
        place = f'{self._path}:{line}' if line else self._path
        return ConfigurationError(f'[DEFAULT] property_protection_file: {place}: {reason}')

    def _read(self) -> list[Section]:
        # As Glance reads it: with a section of defaults, and with %(name)s.
        parser = configparser.ConfigParser()
        try:
            text = pathlib.Path(self._path).read_text(encoding='utf-8')
            parser.read_string(text, source=self._path)
        except (OSError, UnicodeError) as ex:
            raise self._wrong(f'cannot be read: {ex}') from ex
        except configparser.Error as ex:
            raise self._wrong(' '.join(str(ex).split()), _line_of(ex)) from ex
        self._lines = lines(text)
        names = [name for name in parser.sections() if not name.startswith(RESERVED_PREFIX)]
        return [self._section(name, parser[name]) for name in names]

    def _section(self, name: str, values: Mapping[str, str]) -> Section:
        line = self._lines.get((name, ''))
        try:
            pattern = re.compile(name)
        except re.error as ex:
            raise self._wrong(f'[{name}] is not a regular expression: {ex}', line) from ex
        tests = {}
        for operation in OPERATIONS:
            line = self._lines.get((name, operation), line)
            try:
                value = values[operation]
            except KeyError:
                line = self._lines.get((name, ''))
                raise self._wrong(f'[{name}] does not say who may {operation}', line) from None
            except configparser.Error as ex:
                raise self._wrong(f'[{name}] {" ".join(str(ex).split())}', line) from ex
            tests[operation] = self._test(f'[{name}] {operation}', value, line)
        return Section(pattern, tests)

    def _test(self, where: str, value: str, line: int | None) -> Test:
        words = [word.strip() for word in value.split(',')]
        if self._policies and len(words) > 1:
            raise self._wrong(f'{where} names more than one policy rule', line)
        if '@' in words and '!' in words:
            raise self._wrong(f'{where} says both everyone (@) and nobody (!)', line)
        if '@' in words:
            return lambda ctx: True
        if '!' in words or not any(words):
            return lambda ctx: False
        if self._policies:
            (rule,) = words
            self._named.append((line or 0, where, rule))
            passes = self._enforcer.passes
            return lambda ctx: passes(ctx, rule)
        roles = frozenset(word.lower() for word in words if word)
        # Roles of the service that asks for somebody count as well, as in Glance.
        return lambda ctx: not (roles.isdisjoint(ctx.roles) and roles.isdisjoint(ctx.service_roles))


def _line_of(ex: configparser.Error) -> int | None:
    """The line on which the file cannot be read."""
    errors: list[tuple[int, str]] = getattr(ex, 'errors', [])
    return errors[0][0] if errors else getattr(ex, 'lineno', None)


def lines(text: str) -> Mapping[tuple[str, str], int]:
    """(section, option) -> number of its line, with no option that of the section's head."""
    found: dict[tuple[str, str], int] = {}
    section = ''
    for number, line in enumerate(text.splitlines(), 1):
        head = configparser.ConfigParser.SECTCRE.match(line)
        if head:
            section = head['header']
            found[section, ''] = number
        elif line[:1] not in ('#', ';', ' ', '\t', ''):
            option = re.split('[=:]', line, maxsplit=1)[0].strip().lower()
            found[section, option] = number
    return found
