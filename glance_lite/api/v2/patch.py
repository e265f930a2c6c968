# SPDX-License-Identifier: Apache-2.0
"""JSON patches of an image, in both media types of the Image API, as one `Changes`.

A patch is a list of steps. What it does to a property depends on whether the property is
there, so the steps are folded into one delta with preconditions (`require`, `absent`) that are
checked with the row, inside the write: nothing of the image is read here.
Paths follow RFC 6901, steps RFC 6902 without test, move and copy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import webob

from glance_lite.api.v2 import attributes
from glance_lite.api.v2.locations import new_location
from glance_lite.errors import Conflict, Forbidden, Invalid, UnknownPatch
from glance_lite.model import Changes, LocationStep

if TYPE_CHECKING:
    from glance_lite.api.v2.schemas import ImageSchema

V21 = 'application/openstack-images-v2.1-json-patch'
V20 = 'application/openstack-images-v2.0-json-patch'

#: Most steps of one patch.
MOST = 1000

_POINTER = re.compile(r'~(?![01])')


class Step(NamedTuple):
    """One step: add, replace or remove what is called `name`."""

    op: str
    name: str
    value: Any
    #: the older media type, whose add refuses to write over something
    strict: bool
    #: of ``/locations/POSITION``
    position: str | None = None


def parse(request: webob.Request, body: Any, locations: bool) -> list[Step]:
    """The steps of a request; `locations`: they may be about them.

    `Invalid`, `Forbidden`, `UnknownPatch`.
    """
    # PERF: the content type is read once, without webob's parser.
    kind = request.environ.get('CONTENT_TYPE', '').partition(';')[0].strip().lower()
    if kind == V21:
        split = _step_21
    elif kind == V20:
        split = _step_20
    else:
        raise UnknownPatch((V20, V21))
    if not isinstance(body, list):
        raise Invalid('A patch must be a list of steps')
    if len(body) > MOST:
        raise Invalid(f'A patch may have {MOST} steps at most')
    steps = [split(step) for step in body]
    if not locations and any(step.name == 'locations' for step in steps):
        attributes.refuse_locations()
    return steps


def _step_21(step: Any) -> Step:
    if not isinstance(step, dict):
        raise Invalid('A step must be an object with op, path and value')
    op = step.get('op')
    if not isinstance(op, str) or op not in ('add', 'replace', 'remove'):
        raise Invalid('The op of a step must be add, replace or remove')
    return _step(op, step.get('path'), step, False)


def _step_20(step: Any) -> Step:
    if not isinstance(step, dict):
        raise Invalid('A step must be an object with add, replace or remove, and value')
    ops = [op for op in ('add', 'replace', 'remove') if op in step]
    if len(ops) != 1:
        raise Invalid('A step must have one of add, replace and remove')
    return _step(ops[0], step[ops[0]], step, True)


def _step(op: str, path: Any, step: dict[str, Any], strict: bool) -> Step:
    name, *rest = _parts(path)
    if len(rest) != (1 if name == 'locations' and op != 'replace' else 0):
        raise Invalid(f'The path {path[:80]!r} is none that {op} can be done to')
    position = rest[0] if rest else None
    if op == 'remove':
        return Step(op, name, None, strict, position)
    if 'value' not in step:
        raise Invalid(f'The step for {path} has no value')
    return Step(op, name, step['value'], strict, position)


def _parts(path: Any) -> list[str]:
    if not isinstance(path, str) or not path.startswith('/'):
        raise Invalid('The path of a step must be a string that begins with /')
    if _POINTER.search(path):
        raise Invalid(f'The path {path[:80]!r} has a ~ that is followed by neither 0 nor 1')
    return [part.replace('~1', '/').replace('~0', '~') for part in path[1:].split('/')]


class Folder:
    """Folds steps into one delta."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.properties: dict[str, str] = {}
        self.remove: set[str] = set()
        self.require: set[str] = set()
        self.absent: set[str] = set()
        self.tags: frozenset[str] | None = None
        self.locations: list[LocationStep] = []

    def take(self, step: Step) -> None:
        if step.name == 'locations':
            self._location(step)
        elif step.name in attributes.BASE or step.name in attributes.NOT_WRITABLE:
            self._base(step)
        else:
            self._custom(step)

    def _base(self, step: Step) -> None:
        name = step.name
        attributes.check_writable(name, new=False)
        if step.op == 'remove':
            raise Forbidden(f'{name} is an attribute of every image and cannot be removed')
        if step.op == 'add' and step.strict:
            raise Conflict(f'There is {name} already')
        if name == 'tags':
            self.tags = frozenset(step.value)
        else:
            self.fields[name] = step.value

    def _location(self, step: Step) -> None:
        if step.op == 'replace' and not step.value:
            raise Forbidden('The list of locations cannot be made empty')
        values = tuple(new_location(value) for value in _list(step))
        self.locations.append(LocationStep(step.op, step.position or '-', values))

    def _custom(self, step: Step) -> None:
        attributes.check_custom(step.name)
        name = step.name
        there = name in self.properties
        gone = name in self.remove and not there
        if step.op == 'add' and step.strict:
            if there:
                raise Conflict(f'There is a property {name} already')
            if not gone:
                self.absent.add(name)
        elif step.op != 'add':
            if gone:
                raise Conflict(f'There is no property {name}')
            if not there:
                self.require.add(name)
        if step.op == 'remove':
            self.properties.pop(name, None)
            self.remove.add(name)
        else:
            self.properties[name] = step.value
            self.remove.discard(name)

    def changes(self) -> Changes:
        return Changes(
            fields=self.fields,
            properties=self.properties,
            remove=frozenset(self.remove),
            require=frozenset(self.require),
            absent=frozenset(self.absent),
            tags=self.tags,
            locations=tuple(self.locations),
        )


def _list(step: Step) -> list[Any]:
    """What a step says of locations, always as a list."""
    if step.op == 'remove':
        return []
    return [step.value] if step.op == 'add' else list(step.value)


def changes(steps: list[Step], schema: ImageSchema) -> Changes:
    """One delta for all steps, each value checked against the schema."""
    folder = Folder()
    values: dict[str, Any] = {}
    for step in steps:
        if step.op != 'remove':
            # Refused attributes are told before their values are looked at.
            attributes.check_writable(step.name, new=False)
            attributes.check_many(step.value, 'tags')
            if step.name == 'locations':
                schema.check_some({'locations': _list(step) if step.op == 'add' else step.value})
                continue
            if step.name in values:
                # Only what is about to be replaced; the last of each is checked below.
                schema.check_some({step.name: values[step.name]})
            values[step.name] = step.value
        elif step.name in schema.required:
            raise Forbidden(f'Property {step.name} is required by this service')
    if values:
        schema.check_some(values)
    for step in steps:
        folder.take(step)
    attributes.check_counts(folder.fields)
    return folder.changes()
