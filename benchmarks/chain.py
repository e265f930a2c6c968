# SPDX-License-Identifier: Apache-2.0
"""What the layers cost: Python calls and microseconds of an operation, in one process.

    .cache/test/bin/python -m benchmarks.chain [--rounds N]

Three chains are measured side by side. *Nothing*: a stub alone, which answers with values that are
made before. *Six layers*: auth, property_protection, notifier, policy, quota and location, all
with something to do, before the same stub. *Seven layers*: the same before the real ``db``, on an
SQLite file. Whoever asks is a member; bytes go to a store in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import gc
import inspect
import io
import pathlib
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from glance_lite.context import RequestContext
from glance_lite.db import admin
from glance_lite.layer import Layer, link
from glance_lite.model import Changes, Query, Wanted
from glance_lite.operations import OPERATIONS, Operations
from glance_lite.service import load_layers
from glance_lite.stream import Upload
from glance_lite.testing.layers import ANSWERS, arguments_of, make_parts, returned

PROTECTIONS = """
[^billing_.*]
create = admin
read = admin,member
update = admin
delete = admin
[.*]
create = @
read = @
update = @
delete = @
"""

SETTINGS = """
[DEFAULT]
property_protection_file = {directory}/protections.conf
user_storage_quota = 1TB
[oslo_messaging_notifications]
driver = noop
[database]
connection = sqlite:///{directory}/glance.sqlite
[controller]
layers = {layers}
"""

LAYERS = 'auth, property_protection, notifier, policy, quota, location, db'

#: What every image has.
FIELDS = {'name': 'an image', 'disk_format': 'raw', 'container_format': 'bare'}
PROPERTIES = {f'property{number}': 'value' for number in range(10)}

DATA = b'some'

#: Images of a page of a list.
PAGE = 25


class Stub(Layer):
    """Answers everything with what was made before: the end of a chain that costs nothing."""

    name = 'db'
    ends = frozenset(OPERATIONS)

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}


def _answering(name: str, contract: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(contract)
    def method(self: Stub, *args: Any) -> Any:
        return self.answers[name]

    return method


for _name, _contract in OPERATIONS.items():
    setattr(Stub, _name, _answering(_name, _contract))


def caller() -> RequestContext:
    roles = ('member', 'reader')
    return RequestContext(user_id='somebody', project_id='alpha', roles=roles, overwrite=False)


# --- chains


class Place:
    """A chain, and images for it to work on."""

    def __init__(self, chain: Operations, driver: Any, stub: Stub | None) -> None:
        self.chain = chain
        self._driver = driver
        self._stub = stub

    def queued(self) -> str:
        """An image without data."""
        return self._image(False)

    def active(self) -> str:
        return self._image(True)

    def _image(self, data: bool) -> str:
        image_id = str(uuid.uuid4())
        if self._stub is None:
            fields = {**FIELDS, 'id': image_id}
            self.chain.create_image(caller(), Changes(fields=fields, properties=PROPERTIES))
            if data:
                self.chain.upload(caller(), image_id, upload(), None)
        else:
            if data:
                self._driver.add(image_id, io.BytesIO(DATA), len(DATA))
            self._answer(self._stub, image_id, data)
        return image_id

    def _answer(self, stub: Stub, image_id: str, data: bool) -> None:
        """Have the stub speak of this image."""
        ctx = caller()
        for name in OPERATIONS:
            words = list(inspect.signature(OPERATIONS[name]).parameters)[2:]
            asked = dict(zip(words, arguments_of(name, image_id), strict=True))
            stub.answers[name] = ANSWERS[returned(name)](name, ctx, asked)
        empty = dict.fromkeys(('checksum', 'os_hash_value'))
        status = {'status': 'active', 'size': len(DATA)}
        if not data:
            status = {'status': 'queued', 'size': None, 'locations': (), **empty}
        image = stub.answers['peek'].replace(properties=PROPERTIES, **status)
        for name in ('peek', 'get_image', 'update_image', 'create_image', 'commit_upload'):
            stub.answers[name] = image
        page = stub.answers['list_images']
        stub.answers['list_images'] = dataclasses.replace(page, images=[image] * PAGE)


@contextlib.contextmanager
def place(kind: str) -> Iterator[Place]:
    """`kind` is ``nothing``, ``six`` or ``seven``."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        (directory / 'protections.conf').write_text(PROTECTIONS)
        parts = make_parts(directory, SETTINGS.format(directory=directory, layers=LAYERS))
        layers = load_layers(parts)
        stub = None if kind == 'seven' else Stub()
        if stub is not None:
            layers = [stub] if kind == 'nothing' else [*layers[:-1], stub]
        else:
            admin.sync(parts.conf)
        chain = link(layers, layers[0].name if kind == 'nothing' else 'location')
        for layer in layers:
            layer.start()
        made = Place(chain.outer, parts.gateway.stores['ram'].driver, stub)
        for _ in range(PAGE if stub is None else 1):
            made.active()
        yield made
        for layer in layers:
            layer.stop()


# --- what is measured


def upload() -> Upload:
    return Upload(io.BytesIO(DATA).read, len(DATA))


#: Operation -> its arguments after the context, made anew for each time.
CASES: dict[str, Callable[[Place], tuple[Any, ...]]] = {
    'get_image': lambda place: (place.active(),),
    'list_images': lambda place: (Query(limit=PAGE),),
    'create_image': lambda place: (Changes(fields=FIELDS, properties=PROPERTIES),),
    'update_image': lambda place: (place.active(), Changes(properties={'property1': 'new'})),
    'upload': lambda place: (place.queued(), upload(), None),
    'download': lambda place: (place.active(), Wanted()),
    'delete_image': lambda place: (place.active(),),
    'list_members': lambda place: (place.active(),),
    'add_member': lambda place: (place.active(), 'beta'),
    'list_stores': lambda place: (False,),
    'list_resource_types': lambda place: (),
}


def run(made: Place, name: str) -> Callable[[], Any]:
    """One call of an operation, with everything prepared."""
    return functools.partial(getattr(made.chain, name), caller(), *CASES[name](made))


def calls(made: Place, name: str) -> int:
    """Python functions that are called, the operation's own included.

    The fewest of several times: every few seconds one looks whether the policy files have changed.
    """
    run(made, name)()  # what is done once is done
    return min(_calls(run(made, name)) for _ in range(3))


def _calls(function: Callable[[], Any]) -> int:
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == 'call'

    gc.collect()
    gc.disable()  # what others have left would be counted where it is taken away
    sys.setprofile(profile)
    try:
        found = function()
    finally:
        sys.setprofile(None)
        gc.enable()
    _close(found)
    return count


def microseconds(made: Place, name: str, rounds: int) -> float:
    """The median of `rounds` times."""
    found = []
    for _ in range(rounds):
        function = run(made, name)
        begun = time.perf_counter_ns()
        answer = function()
        found.append(time.perf_counter_ns() - begun)
        _close(answer)
    return statistics.median(found) / 1000


def _close(answer: Any) -> None:
    close = getattr(answer, 'close', None)
    if close is not None:
        close()


KINDS = {'nothing': 'Nothing', 'six': 'Six layers', 'seven': 'Seven, with SQLite'}


def measure(rounds: int) -> dict[str, dict[str, tuple[int, float]]]:
    """Operation -> kind of chain -> (calls, microseconds)."""
    found: dict[str, dict[str, tuple[int, float]]] = {name: {} for name in CASES}
    for kind in KINDS:
        with place(kind) as made:
            # Each time takes an image of its own, which a database does not make for nothing.
            times = rounds if kind != 'seven' else max(1, rounds // 10)
            for name in CASES:
                found[name][kind] = calls(made, name), microseconds(made, name, times)
    return found


def report(found: dict[str, dict[str, tuple[int, float]]]) -> str:
    """A table in reStructuredText."""
    head = ['', *(f'{title}: calls' for title in KINDS.values())]
    head += [f'{title}: µs' for title in KINDS.values()]
    rows = [
        [name]
        + [str(figures[kind][0]) for kind in KINDS]
        + [f'{figures[kind][1]:.1f}' for kind in KINDS]
        for name, figures in found.items()
    ]
    head[0] = '\\'
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = '  '.join('=' * width for width in widths)

    def line(row: list[str]) -> str:
        return '  '.join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()

    return '\n'.join([rule, line(head), rule, *map(line, rows), rule])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='benchmarks.chain', description=__doc__.split('\n')[0])
    parser.add_argument('--rounds', type=int, default=300, help='times each is timed (%(default)s)')
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error('--rounds: at least one is needed')
    print(report(measure(options.rounds)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
