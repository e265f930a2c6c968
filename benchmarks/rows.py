# SPDX-License-Identifier: Apache-2.0
"""What is measured, and what must come out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence

from benchmarks import fill

MIB = 1024 * 1024
#: connections where nothing else is said
CLIENTS = 8
#: most clients that ask over kept connections: as many as Glance 33 has threads
KEPT = 8
#: for ever, as far as one measurement goes
PATIENCE = 600

READER = ('member,reader', fill.READER)
ADMIN = ('admin,member,reader', 'administrators')
WRITER = ('member,reader', fill.WRITER)

#: whose pages are compared: who asks, its name, what it has
VIEWERS = (
    (('member,reader', fill.FEW), 'few', 'project with 25'),
    (('member,reader', fill.HALF), 'half', 'project with half'),
    (ADMIN, 'all', 'administrator'),
)

BOTH = ('glance', 'lite')
#: every way to run glance-lite
ALL = ('glance', 'lite', 'lite-uwsgi', 'lite-gunicorn')


@dataclasses.dataclass(frozen=True)
class Bench:
    """All that the rows need to make their requests."""

    filler: fill.Filler
    filled: fill.Filled
    #: an image with data, of `size` bytes
    sample: str
    #: store -> the same, where there are more stores than one
    samples: Mapping[str, str] = dataclasses.field(default_factory=dict, kw_only=True)
    size: int
    seconds: float
    #: values that were never written before
    fresh: Callable[[], int]


@dataclasses.dataclass(frozen=True)
class Client:
    """One connection, and what goes over it in turn."""

    requests: Sequence[str]
    #: bytes that follow each request
    body: int = 0
    status: int = 200


@dataclasses.dataclass(frozen=True)
class Work:
    """What all clients do in one measurement."""

    clients: Sequence[Client]
    #: length; 0 for as long as `count` requests of each client take
    seconds: float = 0
    count: int = 0
    #: whether the requests may be sent again
    repeat: bool = True
    #: follow the links to the next page
    walk: bool = False
    #: let the kernel drop what is received
    discard: bool = False
    #: seconds without a byte after which an answer counts as lost
    patience: float = PATIENCE


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of work."""

    name: str
    group: str
    title: str
    make: Callable[[Bench], Work]
    #: what is counted: request, image or GiB
    unit: str = 'request'
    sides: Sequence[str] = BOTH
    #: images in the database; None for as many as the options say
    images: int | None = None
    #: seconds after which the first answer is too late for a server to be measured at all
    limit: float | None = None
    #: how it is measured: load, memory or start
    kind: str = 'load'
    #: the store that takes or gives the data, of those that run then; None: files alone run
    store: str | None = None
    #: transfers at a time, for what is measured without a service
    streams: int = 1


# --- requests


def head(
    method: str,
    path: str,
    who: tuple[str, str],
    kind: str = '',
    length: int | None = None,
    store: str | None = None,
) -> str:
    roles, project = who
    lines = [
        f'{method} {path} HTTP/1.1',
        'Host: image.example',
        'Accept: */*',
        'X-Identity-Status: Confirmed',
        f'X-Roles: {roles}',
        f'X-Project-Id: {project}',
        f'X-User-Id: user-of-{project}',
    ]
    if kind:
        lines += [f'Content-Type: {kind}', f'Content-Length: {length}']
    if store:
        lines.append(f'X-Image-Meta-Store: {store}')
    return '\r\n'.join(lines) + '\r\n\r\n'


def _with_json(method: str, path: str, kind: str, value: object) -> str:
    body = json.dumps(value)
    return head(method, path, WRITER, kind, len(body)) + body


def _spread(requests: Sequence[str], clients: int, status: int = 200) -> list[Client]:
    """Each request to one of the clients."""
    return [Client(requests[number::clients], status=status) for number in range(clients)]


def _get(clients: int = CLIENTS, share: float = 1) -> Callable[[Bench], Work]:
    def make(bench: Bench) -> Work:
        made = [head('GET', f'/v2/images/{one}', READER) for one in bench.filled.visible]
        return Work(_spread(made, clients), bench.seconds * share)

    return make


def _list(
    path: str, clients: int = CLIENTS, share: float = 1, who: tuple[str, str] = READER
) -> Callable[[Bench], Work]:
    def make(bench: Bench) -> Work:
        client = Client([head('GET', path, who)])
        return Work([client] * clients, bench.seconds * share)

    return make


def _middle(who: tuple[str, str], which: str) -> Callable[[Bench], Work]:
    def make(bench: Bench) -> Work:
        path = f'/v2/images?limit=25&marker={bench.filled.middle[which]}'
        return _list(path, 1, 0.5, who)(bench)

    return make


def _create(bench: Bench) -> Work:
    image = {
        'name': fill.MADE,
        'disk_format': 'qcow2',
        'container_format': 'bare',
        'visibility': 'private',
        'tags': list(fill.TAGS[:3]),
        **{name: values[0] for name, values in fill.PROPERTIES.items()},
    }
    client = Client([_with_json('POST', '/v2/images', 'application/json', image)], status=201)
    return Work([client] * CLIENTS, bench.seconds)


def _patch(bench: Bench) -> Work:
    """Two names in turn for each image, so that each request changes something."""
    kind = 'application/openstack-images-v2.1-json-patch'
    run, made = bench.fresh(), []
    for turn in range(2):
        step = [{'op': 'replace', 'path': '/name', 'value': f'name-{run}-{turn}'}]
        # A multiple of CLIENTS, so that each image always belongs to the same client.
        for image_id in bench.filled.writable:
            made.append(_with_json('PATCH', f'/v2/images/{image_id}', kind, step))
    return Work(_spread(made, CLIENTS), bench.seconds)


def _pages(bench: Bench) -> Work:
    # No more than a minute of it: Glance takes half a minute for 20,000.
    return Work([Client([head('GET', '/v2/images?limit=1000', ADMIN)])], 60, walk=True)


def _uploads(bench: Bench, count: int, size: int, store: str | None = None) -> list[Client]:
    kind = 'application/octet-stream'
    return [
        Client([head('PUT', f'/v2/images/{one}/file', WRITER, kind, size, store)], size, 204)
        for one in bench.filler.queued(count)
    ]


def _upload(streams: int, store: str | None = None) -> Callable[[Bench], Work]:
    return lambda bench: Work(_uploads(bench, streams, bench.size, store), count=1, repeat=False)


def _download(
    streams: int, count: int, discard: bool = False, store: str | None = None
) -> Callable[[Bench], Work]:
    def make(bench: Bench) -> Work:
        sample = bench.samples[store] if store else bench.sample
        client = Client([head('GET', f'/v2/images/{sample}/file', WRITER)])
        return Work([client] * streams, count=count, discard=discard)

    return make


def transfers(bench: Bench, part: int) -> Work:
    """Four uploads and four downloads of 1/`part` of the size at a time."""
    download = Client([head('GET', f'/v2/images/{bench.sample}/file', WRITER)])
    return Work([*_uploads(bench, 4, bench.size // part), *[download] * 4], count=1)


def warm(bench: Bench) -> Work:
    """What a service has done when it is said to be idle."""
    one = head('GET', f'/v2/images/{bench.filled.visible[0]}', READER)
    return Work([Client([one, head('GET', '/v2/images', READER)])] * CLIENTS, count=50)


# --- rows

#: ids of those whose backends are compared
STORES = ('file', 'swift', 'rbd', 's3', 's3-http')
LISTS = '/v2/images?limit=25'
#: clients of the second plot
CROWDS = (1, 2, 4, 8, 16, 32, 64)


def table(scale: Sequence[int], crowds: Sequence[int] = CROWDS) -> tuple[Row, ...]:
    """All rows; `scale` are the numbers of images of which the first and last are compared."""
    streams = (*ALL, 'nginx')
    rows = [
        Row('get', 'get', 'GET image', _get()),
        Row('list25', 'list', 'list 25', _list(LISTS)),
        Row(
            'list25-property',
            'list',
            'list 25 of one os_distro',
            _list(f'{LISTS}&os_distro=debian'),
        ),
        Row('pages', 'pages', 'page by page, 1000 each', _pages, 'image'),
        Row('create', 'create', 'create', _create),
        Row('patch', 'patch', 'PATCH one field', _patch),
        Row('start', 'start', 'start to first answer', warm, 'start', kind='start'),
        Row('memory', 'memory', 'memory', warm, 'MiB', kind='memory'),
        Row('upload1', 'upload', 'upload, 1 stream', _upload(1), 'GiB', (*BOTH, 'bare')),
        Row('upload4', 'upload', 'upload, 4 streams', _upload(4), 'GiB', (*BOTH, 'bare')),
        Row(
            'upload1-sha256',
            'upload',
            'upload, 1 stream, no checksum',
            _upload(1),
            'GiB',
            ('glance', 'lite-sha256', 'bare-sha256'),
        ),
        Row('download1', 'download', 'download, 1 stream', _download(1, 4), 'GiB', streams),
        Row('download8', 'download', 'download, 8 streams', _download(8, 1), 'GiB', streams),
        Row(
            'download1-discard',
            'download',
            'download, 1 stream, not read',
            _download(1, 4, discard=True),
            'GiB',
            ('glance', 'lite', 'nginx'),
        ),
    ]
    for store in STORES:
        for streams in (1, 4):
            title = '1 stream' if streams == 1 else f'{streams} streams'
            more = {'sides': (*BOTH, 'direct'), 'store': store, 'streams': streams}
            rows += [
                Row(
                    f'{store}-upload{streams}',
                    'stores',
                    f'{store}: upload, {title}',
                    _upload(streams, store),
                    'GiB',
                    **more,
                ),
                Row(
                    f'{store}-download{streams}',
                    'stores',
                    f'{store}: download, {title}',
                    _download(streams, 1, store=store),
                    'GiB',
                    **more,
                ),
            ]
    for count in crowds:
        clients = '1 client' if count == 1 else f'{count} clients'
        rows += [
            Row(f'get-by-{count}', 'clients', f'GET image, {clients}', _get(count, 0.5)),
            Row(f'list25-by-{count}', 'clients', f'list 25, {clients}', _list(LISTS, count, 0.5)),
        ]
    for count in scale:
        title, more = f'{count:,} images', {'images': count, 'limit': 10.0}
        rows += [
            Row(f'get@{count}', 'scale', f'GET image, {title}', _get(share=0.5), **more),
            Row(f'list25@{count}', 'scale', f'list 25, {title}', _list(LISTS, share=0.5), **more),
        ]
        for who, name, whose in VIEWERS:
            for path, kind in ((LISTS, ''), (f'{LISTS}&name=image-7', ' of one name')):
                rows.append(
                    Row(
                        f'page-{name}{"-filtered" if kind else ""}@{count}',
                        'scale',
                        f'first page{kind}, {whose}, {title}',
                        _list(path, 1, 0.2, who),
                        sides=('lite',),
                        **more,
                    )
                )
        if count not in (scale[0], scale[-1]):
            continue
        for who, name in ((READER, 'project'), (ADMIN, 'admin')):
            rows += [
                Row(
                    f'first-{name}@{count}',
                    'scale',
                    f'first page, {name}, {title}',
                    _list(LISTS, 1, 0.5, who),
                    **more,
                ),
                Row(
                    f'middle-{name}@{count}',
                    'scale',
                    f'page in the middle, {name}, {title}',
                    _middle(who, name),
                    **more,
                ),
            ]
    return tuple(rows)


GROUPS = tuple(dict.fromkeys(row.group for row in table((1, 2))))


# --- goals


@dataclasses.dataclass(frozen=True)
class Goal:
    """A ratio of two figures that must be at least, or at most, a number."""

    title: str
    #: a key of report.FIGURES
    what: str
    row: str
    side: str
    beside: str
    #: None for a ratio that is good to know
    goal: float | None
    #: the other row, where it is not the same
    other: str | None = None


def goals(scale: Sequence[int]) -> tuple[Goal, ...]:
    found = [
        Goal('GET image', 'cpu', 'get', 'lite', 'glance', 5),
        Goal('', 'rate', 'get', 'lite', 'glance', None),
    ]
    for title, row, goal in (
        ('list 25', 'list25', 10),
        ('list 25, filtered on a property', 'list25-property', 6),
        ('create', 'create', 10),
        ('PATCH one field', 'patch', 10),
        ('page by page, 1000 each', 'pages', 10),
    ):
        found += [
            Goal(title, 'cpu', row, 'lite', 'glance', goal),
            Goal('', 'rate', row, 'lite', 'glance', goal),
        ]
    first, last = scale[0], scale[-1]
    for who in ('project', 'admin'):
        for page, title in (('first', 'first page'), ('middle', 'page in the middle')):
            found.append(
                Goal(
                    f'{title} of {last:,} images to that of {first:,}, {who}',
                    'latency',
                    f'{page}-{who}@{last}',
                    'lite',
                    'lite',
                    1.5,
                    f'{page}-{who}@{first}',
                )
            )
    found += [
        Goal('upload, 1 stream', 'rate', 'upload1', 'lite', 'bare', 0.9),
        Goal('', 'rate', 'upload1', 'lite', 'glance', None),
        Goal('upload, 4 streams', 'rate', 'upload4', 'lite', 'glance', 1.5),
        Goal('', 'rate', 'upload4', 'lite', 'bare', None),
        Goal('upload, SHA-256 alone', 'rate', 'upload1-sha256', 'lite-sha256', 'bare-sha256', None),
        Goal('', 'rate', 'upload1-sha256', 'lite-sha256', 'glance', None),
        Goal('download, 1 stream', 'rate', 'download1', 'lite', 'nginx', 0.9),
        Goal('', 'cpu', 'download1', 'lite', 'glance', 2),
        Goal('', 'rate', 'download1', 'lite', 'glance', None),
        Goal('download, 8 streams', 'rate', 'download8', 'lite', 'glance', 1),
        Goal('', 'cpu', 'download8', 'lite', 'glance', 2),
        Goal('', 'rate', 'download8', 'lite', 'nginx', 0.9),
        Goal('download, 1 stream, not read', 'rate', 'download1-discard', 'lite', 'nginx', None),
    ]
    for row in ('download1', 'download8'):
        for side in ('lite-uwsgi', 'lite-gunicorn'):
            title = 'download, 1 stream' if row == 'download1' else 'download, 8 streams'
            found.append(Goal(title, 'rate', row, side, 'glance', 1))
    for store in STORES:
        for streams, title in ((1, '1 stream'), (4, '4 streams')):
            for work in ('upload', 'download'):
                row, goal = f'{store}-{work}{streams}', 1.5 if streams == 1 else None
                found += [
                    Goal(f'{store}: {work}, {title}', 'rate', row, 'lite', 'glance', goal),
                    Goal('', 'cpu', row, 'lite', 'glance', None),
                ]
    found += [
        Goal('memory, idle', 'idle', 'memory', 'lite', 'glance', 0.5),
        Goal('memory, 8 transfers', 'large', 'memory', 'lite', 'glance', 0.5),
        Goal('memory, 8 transfers to 8 of an eighth', 'flat', 'memory', 'lite', 'lite', 1.1),
        Goal('start to first answer', 'start', 'start', 'lite', 'glance', None),
        Goal('', 'seconds', 'start', 'lite', 'lite', 1),
    ]
    return tuple(found)
