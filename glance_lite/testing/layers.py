# SPDX-License-Identifier: Apache-2.0
"""The conformance kit of layers: what every layer owes to those around it.

A layer's own test is its class::

    class TestFreeze(LayerConformance):
        layer = Freeze

or, where it needs more than the default configuration, a fixture ``layer`` or a method
``make_layer(parts)`` that gives one. The kit links it in front of a `Recorder`, which plays all
layers further in and notes what reaches it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import difflib
import functools
import inspect
import io
import pathlib
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from glance_lite import conf as configuration
from glance_lite.cache.directory import Entry
from glance_lite.cache.key import Key
from glance_lite.cache.operations import CacheState
from glance_lite.context import RequestContext
from glance_lite.copies import Copying, Verifying
from glance_lite.errors import GlanceLiteError, ImageNotFound, Unavailable
from glance_lite.gateway import Gateway
from glance_lite.imports.jobs import Copy, ImportRequest, NewJob, Progress, Running, Step
from glance_lite.imports.values import Job
from glance_lite.layer import Chain, Layer, Parts, link, overrides
from glance_lite.model import (
    Changes,
    Digests,
    Image,
    LimitUsage,
    Location,
    Member,
    NewLocation,
    Operation,
    Orphan,
    Page,
    Query,
    Relocation,
    Stored,
    StoreInfo,
    Usage,
    Verified,
    Wanted,
)
from glance_lite.notify.events import Outbox, Sending
from glance_lite.operations import OPERATIONS, is_inner, is_write
from glance_lite.policy.enforcer import Enforcer
from glance_lite.stream import Download, Upload
from glance_lite.tasks import NewTask, Task, TaskPage, TaskQuery
from glance_lite.testing import metadefs, upkeep

#: What an upload brings and a download gives.
DATA = b'neither long nor of any known format\n' * 3000

#: How alike two names are that are taken for one with a slip in it.
NEAR = 0.85

#: A name of a metric, or of one of its labels.
METRIC = re.compile('[a-z][a-z0-9_]*')

#: Seconds after which threads that should meet are taken for stuck.
PATIENCE = 30

CONFIGURATION = """
[DEFAULT]
enabled_backends = ram:memory,spare:memory
[glance_store]
default_backend = ram
[ram]
[spare]
[oslo_policy]
policy_file = {directory}/policy.yaml
"""


def make_parts(directory: pathlib.Path, text: str = '') -> Parts:
    """Parts of a service with one memory store and `text` added to its configuration file."""
    file = directory / 'glance-api.conf'
    file.write_text(CONFIGURATION.format(directory=directory) + text)
    conf = configuration.parse(configuration.new(), ['--config-file', str(file)])
    parts = Parts(conf, Gateway(conf), Enforcer(conf))
    parts.gateway.start()
    parts.enforcer.start()
    return parts


def make_image(image_id: str, owner: str | None = 'alpha', **fields: Any) -> Image:
    """An active, shared image of `owner`, with a little of everything."""
    moment = datetime.datetime(2026, 4, 1, 12, 0, 0)
    image = Image(
        id=image_id,
        name='an image',
        status='active',
        visibility='shared',
        owner=owner,
        disk_format='raw',
        container_format='bare',
        size=len(DATA),
        virtual_size=len(DATA),
        checksum='c' * 32,
        os_hash_algo='sha512',
        os_hash_value='a' * 128,
        min_disk=1,
        min_ram=512,
        protected=False,
        os_hidden=False,
        created_at=moment,
        updated_at=moment,
        properties={'os_distro': 'debian', 'os_version': '13'},
        tags=('golden', 'nightly'),
        locations=(Location(7, f'memory://ram/{image_id}', {'store': 'ram'}),),
    )
    return image.replace(**fields)


def make_upload(data: bytes = DATA, sized: bool = True) -> Upload:
    return Upload(io.BytesIO(data).read, len(data) if sized else None)


@dataclasses.dataclass(eq=False)
class Call:
    """One call that reached the inner layer. `args` begin with the context."""

    name: str
    args: tuple[Any, ...]
    thread: int
    result: Any = None
    error: BaseException | None = None


class Recorder(Layer):
    """All layers further in: notes every call and gives what they would give."""

    name = 'recorder'
    ends = frozenset(OPERATIONS)

    def __init__(self) -> None:
        self.calls: list[Call] = []
        #: operation -> error it raises
        self.failing: dict[str, GlanceLiteError] = {}
        #: called in each operation before it answers
        self.pause: Callable[[], Any] = lambda: None

    def names(self) -> list[str]:
        return [call.name for call in self.calls]

    def record(self, name: str, *args: Any) -> Any:
        call = Call(name, args, threading.get_ident())
        self.calls.append(call)
        self.pause()
        try:
            if name in self.failing:
                raise self.failing[name]
            call.result = self.answer(name, *args)
        except BaseException as ex:
            call.error = ex
            raise
        return call.result

    def answer(self, name: str, ctx: RequestContext, *args: Any) -> Any:
        """A result of the kind the operation gives, about what it was asked for."""
        words = list(inspect.signature(OPERATIONS[name]).parameters)[2:]
        asked = dict(zip(words, args, strict=True))
        if name in ('upload', 'stage'):
            asked['source'].arm('sha512')
            while asked['source'].read(1 << 20):
                pass
        return ANSWERS[returned(name)](name, ctx, asked)


def _recorded(name: str, contract: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(contract)

    @functools.wraps(contract)
    def method(*args: Any, **kwargs: Any) -> Any:
        self, *rest = signature.bind(*args, **kwargs).args
        return self.record(name, *rest)

    return method


for _name, _contract in OPERATIONS.items():
    setattr(Recorder, _name, _recorded(_name, _contract))


def returned(name: str) -> str:
    """What an operation gives, as its annotation says it."""
    return str(OPERATIONS[name].__annotations__['return'])


def _image(name: str, ctx: RequestContext, asked: dict[str, Any]) -> Image:
    claim, changes = asked.get('claim') or asked.get('found'), asked.get('changes')
    made = changes.fields.get('id') if changes else None
    wanted = asked.get('copying') or asked.get('verifying')
    made = wanted.image_id if wanted else made
    image_id = asked.get('image_id') or made or (claim.image_id if claim else str(uuid.uuid4()))
    return make_image(image_id, ctx.project_id)


def _member(name: str, ctx: RequestContext, asked: dict[str, Any]) -> Member:
    image = _image(name, ctx, asked)
    status, member_id = asked.get('status', 'pending'), asked.get('member_id', 'beta')
    return Member(image.id, member_id, status, image.created_at, image.updated_at, image)


def _operation(name: str, ctx: RequestContext, asked: dict[str, Any]) -> Operation:
    image = _image(name, ctx, asked)
    if name == 'claim_upload':
        nothing = dict.fromkeys(('size', 'virtual_size', 'checksum', 'os_hash_value'))
        return Operation(
            1, image.id, image.id, image.replace(status='queued', locations=(), **nothing)
        )
    if name == 'claim_copy':
        bare = image.replace(os_hash_algo=None, os_hash_value=None, checksum=None)
        return Operation(1, image.id, image.id, bare, kind='copy', store=asked['store'])
    if name == 'claim_stage':
        return Operation(1, image.id, image.id, image, kind='stage', store=asked['store'])
    if name == 'claim_part':
        return Operation(2, image.id, image.id, image, kind='copy', store=asked['store'])
    if name == 'take_job':
        return dataclasses.replace(_job(image.id), image=image)
    if name in ('commit_job', 'abort_job'):
        return dataclasses.replace(_claim(image.id), kind='unstage', locations=())
    if name == 'take_import':
        new = NewLocation(f'memory://ram/{image.id}', {'store': 'ram'})
        return dataclasses.replace(_claim(image.id), kind='import', new=new)
    return asked.get('claim') or asked.get('found') or _claim(image.id)


def _task(name: str, ctx: RequestContext, asked: dict[str, Any]) -> Task:
    moment = datetime.datetime(2026, 4, 1, 12, 0, 0)
    task_id = asked.get('task_id') or str(uuid.uuid4())
    about, owner = asked.get('image_id'), ctx.project_id or 'alpha'
    return Task(
        task_id, 'import', 'failure', owner, moment, about, 'req-1', None, moment, moment, {}
    )


#: What an operation gives -> how the recorder makes one.
ANSWERS: dict[str, Callable[[str, RequestContext, dict[str, Any]], Any]] = {
    'None': lambda name, ctx, asked: None,
    'int': lambda name, ctx, asked: 1,
    'Iterator[Orphan]': lambda name, ctx, asked: iter([_orphan()]),
    'Iterator[Verified]': lambda name, ctx, asked: iter([Verified(7, 'ram', 'memory://ram', None)]),
    'tuple[Holding, ...]': lambda name, ctx, asked: (),
    'frozenset[str]': lambda name, ctx, asked: frozenset(),
    'Task': _task,
    'TaskPage': lambda name, ctx, asked: TaskPage([_task(name, ctx, asked)], False),
    'tuple[Task, ...]': lambda name, ctx, asked: (_task(name, ctx, asked),),
    'bool': lambda name, ctx, asked: True,
    'Image': _image,
    'Member': _member,
    'Operation': _operation,
    'Operation | None': _operation,
    'tuple[Operation, ...]': lambda name, ctx, asked: (
        (_job if name == 'list_jobs' else _claim)(str(uuid.uuid4())),
    ),
    'Page': lambda name, ctx, asked: Page([_image(name, ctx, asked)], False, None),
    'Download': lambda name, ctx, asked: Download(
        _image(name, ctx, asked), iter([DATA]), len(DATA)
    ),
    'tuple[Location, ...]': lambda name, ctx, asked: _image(name, ctx, asked).locations,
    'tuple[Member, ...]': lambda name, ctx, asked: (_member(name, ctx, asked),),
    'tuple[StoreInfo, ...]': lambda name, ctx, asked: (StoreInfo('ram', default=True),),
    'bool | None': lambda name, ctx, asked: True,
    'tuple[Notice, ...] | None': lambda name, ctx, asked: (),
    'Outbox': lambda name, ctx, asked: Outbox(0, None, 0, None),
    'tuple[LimitUsage, ...]': lambda name, ctx, asked: (LimitUsage('image_count_total', 5, 1),),
    'Usage': lambda name, ctx, asked: Usage(len(DATA), 1),
    'int | None': lambda name, ctx, asked: None,
    'CacheState': lambda name, ctx, asked: CacheState((_entry(str(uuid.uuid4())),), ()),
    'tuple[str, ...]': lambda name, ctx, asked: ('http://image-1.example:9292',),
    'tuple[int, int]': lambda name, ctx, asked: (1, len(DATA)),
    'frozenset[Key]': lambda name, ctx, asked: frozenset(),
    **metadefs.ANSWERS,
    **upkeep.ANSWERS,
}

#: What an operation gives -> its type.
TYPES: dict[str, type | tuple[type, ...]] = {
    'None': type(None),
    'int': int,
    'Iterator[Orphan]': Iterator,
    'Iterator[Verified]': Iterator,
    'tuple[Holding, ...]': tuple,
    'frozenset[str]': frozenset,
    'Task': Task,
    'TaskPage': TaskPage,
    'tuple[Task, ...]': tuple,
    'bool': bool,
    'Image': Image,
    'Member': Member,
    'Operation': Operation,
    'Operation | None': (Operation, type(None)),
    'tuple[Operation, ...]': tuple,
    'Page': Page,
    'Download': Download,
    'tuple[Location, ...]': tuple,
    'tuple[Member, ...]': tuple,
    'tuple[StoreInfo, ...]': tuple,
    'bool | None': (bool, type(None)),
    'tuple[Notice, ...] | None': (tuple, type(None)),
    'Outbox': Outbox,
    'tuple[LimitUsage, ...]': tuple,
    'Usage': Usage,
    'int | None': (int, type(None)),
    'CacheState': CacheState,
    'tuple[str, ...]': tuple,
    'tuple[int, int]': tuple,
    'frozenset[Key]': frozenset,
    **metadefs.TYPES,
    **upkeep.TYPES,
}


def _orphan() -> Orphan:
    image_id = str(uuid.uuid4())
    url = f'memory://ram/{image_id}'
    return Orphan('ram', url, url, len(DATA), 1e6, image_id, True)


def _entry(image_id: str) -> Entry:
    return Entry(Key(image_id, len(DATA), 'sha512', 'a' * 128), 2, 1e9, 1e9)


def _claim(image_id: str) -> Operation:
    image = make_image(image_id)
    return Operation(1, image_id, image_id, image, image.locations, store='ram')


def _job(image_id: str) -> Operation:
    image = make_image(image_id)
    asked = Job(1, 'a task', image, 'copy-image', {}, ('spare',))
    running = Running(asked, (Copy('spare'),))
    return Operation(1, image_id, f'{image_id}-1', image, kind='job', job=running)


#: Parameter of an operation -> what the kit gives for it, for an image id.
ARGUMENTS: dict[str, Callable[[str], Any]] = {
    'image_id': lambda image_id: image_id,
    'member_id': lambda image_id: 'beta',
    'project': lambda image_id: 'alpha',
    'location_id': lambda image_id: 7,
    'status': lambda image_id: 'accepted',
    'active': lambda image_id: True,
    'algorithm': lambda image_id: 'sha512',
    'detail': lambda image_id: True,
    'store': lambda image_id: 'ram',
    'reason': lambda image_id: 'broken off',
    'query': lambda image_id: Query(properties={'os_distro': 'debian'}),
    'changes': lambda image_id: Changes(fields={'name': 'another name'}, add_tags=frozenset('t')),
    'new': lambda image_id: NewLocation(f'memory://ram/{image_id}'),
    'relocation': lambda image_id: Relocation((7,)),
    'digests': lambda image_id: Digests('c' * 32, 'sha512', 'a' * 128),
    'size': lambda image_id: len(DATA),
    'source': lambda image_id: make_upload(),
    'wanted': lambda image_id: Wanted(),
    'age': lambda image_id: 0.0,
    'min_age': lambda image_id: 86400.0,
    'orphan': lambda image_id: _orphan(),
    'after': lambda image_id: 0,
    'count': lambda image_id: 100,
    'image_ids': lambda image_id: [image_id],
    'rule': lambda image_id: 'tasks_api_access',
    'task': lambda image_id: NewTask('import', {'import_from': 'http://a.example/b'}),
    'task_id': lambda image_id: str(uuid.uuid4()),
    'tasks': lambda image_id: TaskQuery({}),
    'copying': lambda image_id: Copying(image_id, 'spare'),
    'verifying': Verifying,
    'asked': lambda image_id: ImportRequest('copy-image', stores=('spare',)),
    'job': lambda image_id: NewJob(
        ImportRequest('copy-image', stores=('spare',)), {}, ('spare',), True, 'active'
    ),
    'progress': lambda image_id: Progress(50, 'fetch'),
    'step': lambda image_id: Step('fetch', 'a file', len(DATA)),
    'part': _claim,
    'claim': _claim,
    'found': _claim,
    'held': lambda image_id: {1: 'running'},
    'sending': lambda image_id: Sending('a sender'),
    'sent': lambda image_id: (1, 2),
    'beyond': lambda image_id: 2,
    'failed': lambda image_id: True,
    'expiry': lambda image_id: 60.0,
    'queue': lambda image_id: None,
    'node': lambda image_id: 'http://image-1.example:9292',
    'entries': lambda image_id: (_entry(image_id),),
    'stored': lambda image_id: Stored(
        f'memory://ram/{image_id}', 'ram', len(DATA), 'c' * 32, 'sha512', 'a' * 128
    ),
    **metadefs.ARGUMENTS,
    **upkeep.ARGUMENTS,
}


def arguments_of(name: str, image_id: str) -> tuple[Any, ...]:
    """What the kit calls operation `name` with, after the context."""
    words = list(inspect.signature(OPERATIONS[name]).parameters)[2:]
    special = metadefs.ARGUMENTS_OF.get(name) or upkeep.ARGUMENTS_OF.get(name, {})
    return tuple((special.get(word) or ARGUMENTS[word])(image_id) for word in words)


def caller(project: str | None = 'alpha', *roles: str, **kwargs: Any) -> RequestContext:
    """Somebody of a project; an administrator with the role ``admin``."""
    return RequestContext(
        user_id='somebody',
        project_id=project,
        roles=roles,
        is_admin='admin' in roles,
        overwrite=False,
        **kwargs,
    )


def _parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default) for one in found]


def _shown(parameters: list[tuple[str, Any, Any]]) -> str:
    """Parameters as they are written."""
    words = [
        name if default is inspect.Parameter.empty else f'{name}={default!r}'
        for name, _, default in parameters[1:]
    ]
    return f'({", ".join(words)})'


def _state(value: Any) -> Any:
    """What must stay as it is: which object, and the contents of containers."""
    if isinstance(value, dict):
        return {key: _state(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [_state(held) for held in value]
    if isinstance(value, (set, frozenset)):
        return {id(held) for held in value}
    return id(value)


class LayerConformance:
    """Cases that every layer must pass. Needs ``layer``: a class, or a fixture that makes one."""

    #: class of the layer; a fixture of this name may give a layer instead
    layer: Any
    #: added to the configuration file
    configuration = ''
    #: the layer that is tested, started and linked
    subject: Layer
    #: what it was made from
    given: Parts
    inner: Recorder
    chain: Chain

    @pytest.fixture
    def parts(self, tmp_path: pathlib.Path) -> Parts:
        return make_parts(tmp_path, self.configuration)

    def make_layer(self, parts: Parts) -> Layer:
        kind = getattr(self, 'layer', None)
        assert kind is not None, f'{type(self).__name__} must say which layer it is: layer = ...'
        made: Layer = kind(parts)
        return made

    @pytest.fixture(autouse=True)
    def _linked(self, request: pytest.FixtureRequest, parts: Parts) -> Iterator[None]:
        self.given = parts
        fixture = hasattr(self, 'layer') and not isinstance(self.layer, type)
        self.subject = request.getfixturevalue('layer') if fixture else self.make_layer(parts)
        self.subject.name = self.subject.name or type(self.subject).__name__.lower()
        self.inner = Recorder()
        self.chain = link([self.subject, self.inner])
        self.subject.start()
        yield
        self.subject.stop()

    # --- what a layer that wants something special overrides

    def arguments(self, name: str, image_id: str) -> tuple[Any, ...]:
        """What operation `name` is called with, after the context."""
        return arguments_of(name, image_id)

    def callers(self) -> list[RequestContext]:
        """Those for whom an operation must be served or refused cleanly."""
        return [
            caller('alpha', 'admin', 'member', 'reader'),
            caller('alpha', 'member', 'reader'),
            caller('alpha', 'reader'),
            caller('beta', 'member', 'reader'),
            caller('alpha'),
            caller(None, read_only=True),
        ]

    # --- helpers

    @property
    def overridden(self) -> tuple[str, ...]:
        return overrides(type(self.subject))

    def call(self, name: str, ctx: RequestContext) -> tuple[Any, GlanceLiteError | None]:
        """Result or error of an operation, called as the layer outside of this one would."""
        image_id = str(uuid.uuid4())
        arguments = self.arguments(name, image_id)
        self.inner.calls.clear()
        try:
            return getattr(self.chain.outer, name)(ctx, *arguments), None
        except GlanceLiteError as ex:
            return None, ex
        except Exception as ex:
            raise AssertionError(
                f'{name} raised {type(ex).__name__}: {ex}; what a layer raises on purpose is of '
                f'glance_lite.errors, and all else becomes a 500'
            ) from ex

    # --- cases

    def test_it_acts_on_something(self) -> None:
        assert self.subject.acts(), 'give it a configuration that gives it something to do'
        assert self.overridden, 'a layer that overrides nothing does nothing'

    def test_signatures_are_the_operations_own(self) -> None:
        for name in self.overridden:
            wanted = _parameters(OPERATIONS[name])
            given = _parameters(getattr(type(self.subject), name))
            assert given == wanted, f'it has {name}{_shown(given)}, and not {name}{_shown(wanted)}'

    def test_no_name_is_nearly_that_of_an_operation(self) -> None:
        """A method with a slip in its name is called by nobody, and nobody would notice."""
        for name, _ in inspect.getmembers(type(self.subject), inspect.isfunction):
            if not (name.startswith('_') or name in OPERATIONS or hasattr(Layer, name)):
                near = difflib.get_close_matches(name, OPERATIONS, 1, NEAR)
                assert not near, f'{name} is no operation; is {near[0]} meant?'

    def test_it_may_be_started_again(self) -> None:
        """A server may start it before it forks, and again in each process."""
        self.subject.start()
        for name in self.overridden:
            self.call(name, self.callers()[0])
        self.subject.stop()
        self.subject.stop()
        self.subject.start()

    def test_check_raises_errors_of_ours(self) -> None:
        with contextlib.suppress(GlanceLiteError):
            self.subject.check()

    def test_metrics_are_well_formed(self) -> None:
        told: dict[str, tuple[str, frozenset[str]]] = {}
        seen = set()
        for metric in self.subject.metrics():
            name, labels = metric.name, metric.labels
            assert METRIC.fullmatch(name), f'{name} is no name of a metric'
            assert metric.help, f'{name} has no help'
            float(metric.value)
            for label, value in labels.items():
                assert METRIC.fullmatch(label), f'{label} of {name} is no name of a label'
                assert isinstance(value, str), f'{label} of {name} is {value!r}, and no text'
            alike = told.setdefault(name, (metric.help, frozenset(labels)))
            assert alike == (metric.help, frozenset(labels)), f'{name} is of two kinds'
            assert (name, *labels.items()) not in seen, f'{name} is there twice: {dict(labels)}'
            seen.add((name, *labels.items()))

    def test_what_is_not_overridden_passes_through_untouched(self) -> None:
        for name in OPERATIONS:
            if name in self.overridden:
                continue
            # Nothing looks at them on the way, so the kit's own will do for any layer.
            arguments = arguments_of(name, str(uuid.uuid4()))
            ctx = self.callers()[0]
            self.inner.calls.clear()
            result = getattr(self.chain.outer, name)(ctx, *arguments)
            (reached,) = self.inner.calls
            assert reached.name == name
            assert len(reached.args) == len(arguments) + 1
            assert all(a is b for a, b in zip(reached.args, (ctx, *arguments), strict=True)), name
            assert result is reached.result, name

    def test_results_are_of_the_operations_kind(self) -> None:
        for name in self.overridden:
            for ctx in self.callers():
                result, error = self.call(name, ctx)
                if error is None:
                    assert isinstance(result, TYPES[returned(name)]), (
                        f'{name} gave a {type(result).__name__}, and not {returned(name)}'
                    )

    def test_a_write_goes_on_once_at_most(self) -> None:
        for name in self.overridden:
            for ctx in self.callers():
                self.call(name, ctx)
                names = self.inner.names()
                twice = {one for one in names if is_write(one) and names.count(one) > 1}
                assert not twice, f'{name} called {twice} of the next layer more than once'

    def test_a_write_that_fails_is_not_tried_again(self) -> None:
        for name in filter(is_write, self.overridden):
            failed = Unavailable('the next layer is not well')
            self.inner.failing = {name: failed}
            _, error = self.call(name, self.callers()[0])
            assert self.inner.names().count(name) <= 1, name
            if name in self.inner.names():
                assert error is failed, f'{name} did not pass on the error of the next layer'

    def test_who_refuses_changes_nothing(self) -> None:
        for name in filter(is_write, self.overridden):
            for ctx in self.callers():
                _, error = self.call(name, ctx)
                self._check_nothing_written(name, error)

    def test_a_read_that_fails_stops_the_write(self) -> None:
        """Whether it was asked for a decision or an event: what is done is not an error."""
        for name in filter(is_write, self.overridden):
            self.inner.failing = {}
            self.call(name, self.callers()[0])
            for read in {one for one in self.inner.names() if not is_write(one)}:
                for failure in (ImageNotFound('gone'), Unavailable('the database is away')):
                    self.inner.failing = {read: failure}
                    _, error = self.call(name, self.callers()[0])
                    self._check_nothing_written(name, error)

    def _check_nothing_written(self, name: str, error: GlanceLiteError | None) -> None:
        if error is None:
            return
        # The commit protocol is for claiming, finding out, and giving back.
        written = {one for one in self.inner.names() if is_write(one) and not is_inner(one)}
        assert not written, f'{name} was refused ({error}) after {written}'

    def test_nothing_of_a_request_stays_on_the_layer(self) -> None:
        for name in self.overridden:
            for ctx in self.callers():
                before = _state(vars(self.subject))
                self.call(name, ctx)
                assert _state(vars(self.subject)) == before, f'{name} changes the layer'

    def test_several_threads_do_not_meet(self) -> None:
        """All of them are inside at once: each waits in the next layer for the others."""
        count = 4
        together = threading.Barrier(count)
        failures: list[BaseException] = []
        arguments = {
            (name, number): self.arguments(name, f'{uuid.uuid4()}')
            for name in self.overridden
            for number in range(count)
        }
        callers = [caller('alpha', 'admin', 'member', 'reader') for _ in range(count)]
        self.inner.pause = lambda: together.wait(PATIENCE)

        def work(number: int) -> None:
            try:
                for name in self.overridden:
                    given = arguments[name, number]
                    self._one_of_many(name, callers[number], given)
            except BaseException as ex:
                failures.append(ex)
                together.abort()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Those who waited in vain say less than the one who did not come.
        told = [ex for ex in failures if not isinstance(ex, threading.BrokenBarrierError)]
        assert not failures, told or failures
        assert all(call.error is None for call in self.inner.calls)

    def _one_of_many(self, name: str, ctx: RequestContext, given: tuple[Any, ...]) -> None:
        words = list(inspect.signature(OPERATIONS[name]).parameters)[2:]
        asked = dict(zip(words, given, strict=True))
        before = len(self.inner.calls)
        try:
            result = getattr(self.chain.outer, name)(ctx, *given)
        except GlanceLiteError:
            result = None
        mine = threading.get_ident()
        for call in [one for one in self.inner.calls[before:] if one.thread == mine]:
            # The service itself is no user: it may look for its own reasons.
            service = call.args[0].user_id is None
            assert call.args[0] is ctx or service, f'{name} went on for somebody else'
            reached = dict(zip(words, call.args[1:], strict=False))
            if 'image_id' in asked and call.name == name:
                assert reached['image_id'] == asked['image_id'], f'{name}: of another request'
        if isinstance(result, Image) and 'image_id' in asked:
            assert result.id == asked['image_id'], f'{name} gave the image of another request'
