# SPDX-License-Identifier: Apache-2.0
"""Who may create, read, update and delete which custom properties.

The file is Glance's: sections are regular expressions on property names, the first that matches
decides, and a property that none matches is nobody's. Values are filtered on their way up and
changes are checked on their way down; nothing that a caller cannot see is ever written over,
because changes are deltas.
"""

from __future__ import annotations

import configparser
import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from glance_lite.errors import ConfigurationError, Conflict, Forbidden
from glance_lite.layer import Layer, Parts
from glance_lite.model import RESERVED_PREFIX, Image, Page

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.model import Changes, Member, Query, Rider, Wanted
    from glance_lite.policy.enforcer import Enforcer
    from glance_lite.stream import Download, Upload

OPERATIONS = ('create', 'read', 'update', 'delete')

#: May this caller?
Test = Callable[['RequestContext'], bool]


@dataclasses.dataclass(frozen=True)
class Section:
    """One regular expression and who may do what with the properties it matches."""

    pattern: re.Pattern[str]
    tests: Mapping[str, Test]


class Rules:
    """A property protection file, compiled."""

    def __init__(self, path: str, rule_format: str, enforcer: Enforcer) -> None:
        self._path = path
        self._policies = rule_format == 'policies'
        self._enforcer = enforcer
        self._sections = self._read()
        self._find = functools.lru_cache(maxsize=4096)(self._search)

    def allowed(self, ctx: RequestContext, operation: str, name: str) -> bool:
        """Whether the caller may do `operation` with the property `name`."""
        if name.startswith(RESERVED_PREFIX):
            return True  # the service's own; clients are kept from them elsewhere
        section = self._find(name)
        return section is not None and section.tests[operation](ctx)

    def _search(self, name: str) -> Section | None:
        return next((found for found in self._sections if found.pattern.search(name)), None)

    # --- reading the file

    def _wrong(self, reason: str) -> ConfigurationError:
        return ConfigurationError(f'[DEFAULT] property_protection_file: {self._path}: {reason}')

    def _read(self) -> list[Section]:
        parser = configparser.RawConfigParser(strict=True, default_section='\0')
        try:
            parser.read_string(pathlib.Path(self._path).read_text(), source=self._path)
        except (OSError, UnicodeError) as ex:
            raise self._wrong(f'cannot be read: {ex}') from ex
        except configparser.Error as ex:
            raise self._wrong(' '.join(str(ex).split())) from ex
        return [self._section(name, parser[name]) for name in parser.sections()]

    def _section(self, name: str, values: Mapping[str, str]) -> Section:
        try:
            pattern = re.compile(name)
        except re.error as ex:
            raise self._wrong(f'[{name}] is not a regular expression: {ex}') from ex
        tests = {}
        for operation in OPERATIONS:
            if operation not in values:
                raise self._wrong(f'[{name}] does not say who may {operation}')
            words = [word.strip() for word in values[operation].split(',') if word.strip()]
            tests[operation] = self._test(f'[{name}] {operation}', words)
        return Section(pattern, tests)

    def _test(self, where: str, words: list[str]) -> Test:
        if '@' in words and '!' in words:
            raise self._wrong(f'{where} says both everyone (@) and nobody (!)')
        if '@' in words:
            return lambda ctx: True
        if '!' in words or not words:
            return lambda ctx: False
        if self._policies:
            return self._policy(where, words)
        roles = frozenset(word.lower() for word in words)
        return lambda ctx: not roles.isdisjoint(ctx.roles)

    def _policy(self, where: str, words: list[str]) -> Test:
        if len(words) > 1:
            raise self._wrong(f'{where} names more than one policy rule')
        rule, enforcer = words[0], self._enforcer
        return lambda ctx: enforcer.allowed(ctx, rule, {'project_id': ctx.project_id})


class PropertyProtection(Layer):
    """Hides properties on the way up and refuses changes to them on the way down."""

    outside_of = ('notifier', 'policy', 'quota', 'location', 'db')

    def __init__(self, parts: Parts) -> None:
        conf = parts.conf
        path = conf.property_protection_file
        if path and not pathlib.Path(path).is_absolute():
            path = conf.find_file(path) or path
        self._rules = (
            Rules(path, conf.property_protection_rule_format, parts.enforcer) if path else None
        )

    def acts(self) -> bool:
        return self._rules is not None

    # --- values on their way up

    def _seen(self, ctx: RequestContext, image: Image) -> Image:
        rules = self._rules
        assert rules is not None
        shown = {
            name: value
            for name, value in image.properties.items()
            if rules.allowed(ctx, 'read', name)
        }
        return image if len(shown) == len(image.properties) else image.replace(properties=shown)

    def get_image(self, ctx: RequestContext, image_id: str) -> Image:
        return self._seen(ctx, self.next.get_image(ctx, image_id))

    def peek(self, ctx: RequestContext, image_id: str) -> Image:
        return self._seen(ctx, self.next.peek(ctx, image_id))

    def list_images(self, ctx: RequestContext, query: Query) -> Page:
        assert self._rules is not None
        for name in query.properties:
            if not self._rules.allowed(ctx, 'read', name):
                # To answer by the hidden value would tell it; so would an error, by existing
                # for hidden names only. Nothing matches, as with a property nobody has.
                query = dataclasses.replace(query, limit=0)
        page = self.next.list_images(ctx, query)
        return Page([self._seen(ctx, image) for image in page.images], page.full, page.marker)

    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        return self._seen(ctx, self.next.upload(ctx, image_id, source, store))

    def download(self, ctx: RequestContext, image_id: str, wanted: Wanted) -> Download:
        download = self.next.download(ctx, image_id, wanted)
        return download.replace_image(self._seen(ctx, download.image))

    def _member(self, ctx: RequestContext, member: Member) -> Member:
        if member.image is None:
            return member
        return dataclasses.replace(member, image=self._seen(ctx, member.image))

    def list_members(self, ctx: RequestContext, image_id: str) -> tuple[Member, ...]:
        return tuple(self._member(ctx, one) for one in self.next.list_members(ctx, image_id))

    def get_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        return self._member(ctx, self.next.get_member(ctx, image_id, member_id))

    def add_member(
        self,
        ctx: RequestContext,
        image_id: str,
        member_id: str,
        riders: tuple[Rider, ...] = (),
    ) -> Member:
        return self._member(ctx, self.next.add_member(ctx, image_id, member_id, riders))

    def update_member(
        self, ctx: RequestContext, image_id: str, member_id: str, status: str
    ) -> Member:
        return self._member(ctx, self.next.update_member(ctx, image_id, member_id, status))

    # --- changes on their way down

    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        for name in changes.properties:
            self._may(ctx, 'create', name)
        return self._seen(ctx, self.next.create_image(ctx, changes))

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        if changes.touched:
            try:
                self._check(ctx, self.next.peek(ctx, image_id), changes)
            except (Forbidden, Conflict):
                # An image that policy hides is not there, whatever else is wrong.
                self.next.get_image(ctx, image_id)
                raise
        return self._seen(ctx, self.next.update_image(ctx, image_id, changes))

    def _check(self, ctx: RequestContext, image: Image, changes: Changes) -> None:
        """What is there and unreadable is treated as missing, as far as it can be."""
        rules = self._rules
        assert rules is not None
        for name in changes.touched:
            there = name in image.properties
            hidden = there and not rules.allowed(ctx, 'read', name)
            if hidden and name in changes.require:
                raise Conflict(f'The image has no property {name}')
            if name in changes.remove:
                self._may(ctx, 'delete', name)
            elif there and not hidden:
                self._may(ctx, 'update', name)
            else:
                self._may(ctx, 'create', name)
            if hidden:
                # Writing over what one cannot see would lose it for those who can.
                raise Forbidden(f'Property {name} is protected')

    def _may(self, ctx: RequestContext, operation: str, name: str) -> None:
        assert self._rules is not None
        if not self._rules.allowed(ctx, operation, name):
            raise Forbidden(f'Property {name} is protected')
