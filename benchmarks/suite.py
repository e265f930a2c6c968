# SPDX-License-Identifier: Apache-2.0
"""The run: sets everything up, measures row after row, takes everything down."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Sequence

import requests

from benchmarks import backends, fill, report, rows, servers
from benchmarks.rows import MIB, Bench, Client, Row, Work
from tests.backends import databases
from tests.peers import glance33

#: processes of the clients; one where there is one client
PROCESSES = 2
#: Seconds between giving the clients their job and their first request.
LEAD = 0.5
#: Seconds between two looks at the memory.
LOOK = 0.2
GIB = 1024 * MIB
QUICK = {'images': 1000, 'seconds': 0.5, 'rounds': 1, 'size': 16, 'scale': [1000, 4000]}
QUICK_CROWDS = (1, 8, 16)


class TooSlow(Exception):
    """A server takes longer for one answer than a row allows."""


# --- measuring


def load(side: servers.Side, work: Work) -> dict:
    """Drive one server with all clients; what they measured, put together."""
    crowd = side.crowd is not None and len(work.clients) > rows.KEPT
    job = {
        'host': '127.0.0.1',
        'port': side.crowd if crowd else side.port,
        'keep': side.keep and not crowd,
        'seconds': work.seconds,
        'count': work.count,
        'repeat': work.repeat,
        'walk': work.walk,
        'discard': work.discard,
        'patience': work.patience,
        'start': time.monotonic() + LEAD,
    }
    script = str(pathlib.Path(__file__).with_name('load.py'))
    parts = [work.clients[number::PROCESSES] for number in range(PROCESSES)]
    # Not our group, so that Ctrl-C is for us alone.
    processes = [
        subprocess.Popen(
            [sys.executable, '-S', '-E', script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for part in parts
        if part
    ]
    try:
        for process, part in zip(processes, parts, strict=False):
            assert process.stdin is not None
            clients = [dataclasses.asdict(client) for client in part]
            json.dump({**job, 'clients': clients}, process.stdin)
            process.stdin.close()
        answers = [json.load(process.stdout) for process in processes if process.stdout]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    elapsed = max(answer['ended'] for answer in answers) - job['start'] or LEAD
    latencies = sorted(one for answer in answers for one in answer['latencies'])
    errors = [one for answer in answers for one in answer['errors']]
    return {
        'requests': len(latencies),
        'elapsed': elapsed,
        'median_ms': 1000 * statistics.median(latencies) if latencies else None,
        'p95_ms': 1000 * latencies[int(len(latencies) * 0.95)] if latencies else None,
        'errors': errors,
        'connects': sum(answer['connects'] for answer in answers),
        'sent': sum(answer['sent'] for answer in answers),
        'received': sum(answer['received'] for answer in answers),
        'images': sum(answer['images'] for answer in answers),
        'client_cpu': sum(answer['cpu'] for answer in answers),
        # Each process is one Python: it cannot use more than about one core.
        'client_busiest': max(answer['cpu'] for answer in answers) / elapsed,
    }


def units(row: Row, result: dict) -> float:
    if row.unit == 'GiB':
        return (result['sent'] or result['received']) / GIB
    return result['images'] if row.unit == 'image' else result['requests']


def measure(row: Row, bench: Bench, side: servers.Side, work: Work) -> dict:
    """One row on one side, once, with what it cost the processes."""
    before = servers.cpu(side.pids())
    database = servers.cpu(servers.tree(bench.filler.server_pid))
    all_busy, begun = servers.busy(), time.monotonic()
    result = load(side, work)
    all_busy = servers.busy() - all_busy
    wall = time.monotonic() - begun
    server = servers.spent(before, servers.cpu(side.pids()))
    # Connections opened meanwhile have processes of their own.
    database_cpu = servers.spent(database, servers.cpu(servers.tree(bench.filler.server_pid)))
    return {
        **result,
        'units': units(row, result),
        'server_cpu': server,
        'database_cpu': database_cpu,
        'other_cores': (all_busy - server - database_cpu - result['client_cpu']) / wall,
    }


def measure_store(
    row: Row, bench: Bench, side: servers.Side, work: Work, behind: backends.Backends
) -> dict:
    """The same with what it cost the backend, and the memory of the service."""
    idle = servers.proportional(side.pids())
    before = servers.cpu(behind.pids())
    with Watch(side) as watch:
        result = measure(row, bench, side, work)
    backend = servers.spent(before, servers.cpu(behind.pids()))
    return {
        **result,
        'backend_cpu': backend,
        'other_cores': result['other_cores'] - backend / result['elapsed'],
        'idle_mib': idle,
        'most_mib': max(idle, watch.most),
    }


def measure_direct(row: Row, bench: Bench, behind: backends.Backends) -> dict:
    """A transfer that no service has a part in."""
    assert row.store is not None
    kind, options = behind.stores[row.store]
    verb = 'put' if 'upload' in row.name else 'get'
    names = [f'direct-{number}' for number in range(row.streams)]
    job = {
        'kind': kind,
        'options': options,
        'verb': verb,
        'streams': row.streams,
        'size': bench.size,
        'names': names if verb == 'put' else [bench.samples[row.store]] * row.streams,
    }
    before = servers.cpu(behind.pids())
    done = subprocess.run(
        [sys.executable, str(pathlib.Path(backends.__file__).with_name('direct.py'))],
        input=json.dumps(job),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    result = json.loads(done.stdout)
    return {
        'elapsed': result['elapsed'],
        'units': row.streams * bench.size / GIB,
        'server_cpu': result['cpu'],
        'backend_cpu': servers.spent(before, servers.cpu(behind.pids())),
        'errors': [],
    }


class Watch(threading.Thread):
    """The most memory that a server uses while a block runs."""

    def __init__(self, side: servers.Side) -> None:
        super().__init__(daemon=True)
        self._side = side
        self._over = threading.Event()
        self.most = 0.0

    def run(self) -> None:
        while not self._over.wait(LOOK):
            self.most = max(self.most, servers.proportional(self._side.pids()))

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self.join()


# --- worlds: a database with its services


@dataclasses.dataclass
class Place:
    """A world that is filled, and the servers that run in it."""

    world: servers.World
    bench: Bench
    stack: contextlib.ExitStack
    sides: dict[str, servers.Side]

    def side(self, name: str) -> servers.Side:
        """Started when it is needed first."""
        if name not in self.sides:
            self.sides[name] = self.stack.enter_context(servers.start(name, self.world))
        return self.sides[name]

    def forget(self) -> None:
        """What a measurement has written, before it fills disk and tables."""
        keep = {self.bench.sample, *self.bench.samples.values()}
        if self.world.backends is not None:
            for image_id in set(self.bench.filler.made()) - keep:
                remove(self.side('lite'), image_id)
            self.world.backends.sweep()
        empty(self.world.directory / 'images', keep)
        self.bench.filler.forget(keep)


class Suite:
    """Everything that one run has set up."""

    def __init__(
        self, options: argparse.Namespace, stack: contextlib.ExitStack, told: Progress
    ) -> None:
        self._options = options
        self._told = told
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix='glance-lite-bench-'))
        stack.callback(shutil.rmtree, self._directory, ignore_errors=True)
        for name in ('images', 'staging', 'tasks'):
            (self._directory / name).mkdir()
        stack.enter_context(databases.session())
        told.say('starting PostgreSQL, making the tables')
        self._template = databases.create('postgresql')
        servers.prepare(servers.World('template', self._directory, self._template))
        self._fresh = itertools.count()
        #: images -> seconds to fill
        self.filled: dict[int, float] = {}

    @contextlib.contextmanager
    def place(self, count: int, scale: bool, stores: Sequence[str] = ()) -> Iterator[Place]:
        """A world of `count` images, with these stores, for the length of a block."""
        with contextlib.ExitStack() as stack:
            name = f'images_{count}{"_scale" if scale else ""}{"_stores" if stores else ""}'
            url = fill.copy_of(self._template, name)
            stack.callback(databases.drop, url)
            # The images of the next world have the same ids.
            stack.callback(empty, self._directory / 'images')
            size = self._options.size * MIB
            behind = None
            if stores:
                self._told.say(f'starting what is behind {", ".join(stores)}')
                behind = backends.start(stores, self._directory, size, stack)
            world = servers.World(name, self._directory, url, behind)
            filler = fill.Filler(url, f'{self._directory}/images')
            stack.callback(filler.close)
            self._told.say(f'making {count:,} images')
            begun = time.monotonic()
            filled = filler.fill(count, 0 if scale else 1024, uneven=scale)
            self.filled[count] = time.monotonic() - begun
            # The first image gets data when a server runs that can take it.
            bench = Bench(
                filler, filled, '', size, self._options.seconds, lambda: next(self._fresh)
            )
            place = Place(world, bench, stack, {})
            self._told.say('starting the services')
            sides = [place.side(side) for side in rows.BOTH]
            if not scale:
                sample = upload_sample(filler, sides[1], size)
                samples = {
                    # Those of files are in the default store.
                    store: sample
                    if store == 'file'
                    else upload_sample(filler, sides[1], size, store)
                    for store in stores
                }
                place.bench = dataclasses.replace(bench, sample=sample, samples=samples)
                agree(place.bench, sides)
            yield place

    def row(self, row: Row, place: Place) -> dict:
        """All rounds of a row: side -> what was measured in each, or why nothing was."""
        found: dict[str, list[dict]] = {}
        skipped = {}
        for side in row.sides:
            reason = servers.missing(side) or (row.store and backends.missing(row.store))
            if reason:
                skipped[side] = reason
        do = {'load': self._load, 'memory': self._memory, 'start': self._start}[row.kind]
        for number in range(self._options.rounds):
            # Each goes first in turn.
            order = [side for side in row.sides if side not in skipped]
            for name in order if number % 2 == 0 else reversed(order):
                self._told.step(f'{row.title}: {servers.TITLES[name]}')
                try:
                    found.setdefault(name, []).append(do(row, place, name, number == 0))
                except TooSlow as ex:
                    skipped[name] = str(ex)
                finally:
                    place.forget()
        return {
            'title': row.title,
            'unit': row.unit,
            'sides': {name: found[name] for name in row.sides if name in found},
            'skipped': skipped,
        }

    def _load(self, row: Row, place: Place, name: str, first: bool) -> dict:
        bench, behind = place.bench, place.world.backends
        if name == 'direct' and behind is not None:
            return measure_direct(row, bench, behind)
        side = place.side(name)
        if row.store and behind is not None:
            return measure_store(row, bench, side, row.make(bench), behind)
        if first:  # once without counting: caches, imports, connections
            self._warm_up(row, bench, side)
        return measure(row, bench, side, row.make(bench))

    def _warm_up(self, row: Row, bench: Bench, side: servers.Side) -> None:
        work = row.make(bench)
        if row.unit == 'GiB':  # the measurement itself is long
            return
        if row.limit is not None:
            one = dataclasses.replace(
                work, clients=work.clients[:1], seconds=0, count=1, patience=row.limit
            )
            if load(side, one)['errors']:
                raise TooSlow(f'no answer to one request in {row.limit:g} s')
        load(side, dataclasses.replace(work, seconds=min(1.0, bench.seconds)))

    def _memory(self, row: Row, place: Place, name: str, first: bool) -> dict:
        bench = place.bench
        with servers.start(name, place.world) as side:
            errors = load(side, row.make(bench))['errors']
            found = {'idle_mib': servers.proportional(side.pids())}
            for key, part in (('small_mib', 8), ('large_mib', 1)):
                # Downloads are of the size of the uploads.
                size = bench.size // part
                sample = upload_sample(bench.filler, side, size)
                with Watch(side) as watch:
                    work = rows.transfers(dataclasses.replace(bench, sample=sample), part)
                    errors += load(side, work)['errors']
                found[key] = max(watch.most, servers.proportional(side.pids()))
        return {**found, 'errors': errors}

    def _start(self, row: Row, place: Place, name: str, first: bool) -> dict:
        with servers.start(name, place.world) as side:
            return {'start_s': side.start, 'errors': []}


# --- both sides agree, or there is nothing to compare


def agree(bench: Bench, sides: Sequence[servers.Side]) -> None:
    """Both give the same images, lists and bytes. Raises RuntimeError."""
    reader, writer = identity(fill.READER), identity(fill.WRITER)
    paths = [(f'/v2/images/{one}', reader) for one in bench.filled.visible[:20]]
    paths += [(rows.LISTS, reader), (f'{rows.LISTS}&os_distro=debian', reader)]
    paths += [(f'/v2/images?limit=25&marker={bench.filled.middle["project"]}', reader)]
    samples = (bench.sample, *bench.samples.values())
    paths += [(f'/v2/images/{sample}/file', writer) for sample in samples]
    for path, headers in paths:
        answers = []
        for side in sides:
            url = f'http://127.0.0.1:{side.port}{path}'
            with requests.get(url, headers=headers, stream=True) as answer:
                if answer.status_code != 200:
                    raise RuntimeError(f'{side.name} answers {answer.status_code} to {path}')
                answers.append(_essence(answer))
        if answers[0] != answers[1]:
            raise RuntimeError(f'The answers to {path} differ:\n{answers[0]}\n{answers[1]}')


def _essence(answer: requests.Response) -> object:
    if 'json' not in answer.headers['Content-Type']:
        digest = hashlib.sha256()
        for chunk in answer.iter_content(MIB):
            digest.update(chunk)
        return digest.hexdigest()
    value = answer.json()
    for image in value.get('images', [value]):
        image['tags'] = sorted(image['tags'])
    return value


def identity(project: str) -> dict[str, str]:
    return {
        'X-Identity-Status': 'Confirmed',
        'X-Roles': 'member,reader',
        'X-Project-Id': project,
        'X-User-Id': f'user-of-{project}',
    }


def upload_sample(
    filler: fill.Filler, side: servers.Side, size: int, store: str | None = None
) -> str:
    """An image with data."""
    (image_id,) = filler.queued(1)
    kind = 'application/octet-stream'
    request = rows.head('PUT', f'/v2/images/{image_id}/file', rows.WRITER, kind, size, store)
    errors = load(side, Work([Client([request], size, 204)], count=1))['errors']
    if errors:
        raise RuntimeError(f'{side.name} does not take a sample: {errors[0]}')
    return image_id


def empty(directory: pathlib.Path, keep: Collection[str] = ()) -> None:
    """Remove the files in a directory, but for those of some names."""
    for path in directory.iterdir():
        if path.name not in keep:
            path.unlink()


def remove(side: servers.Side, image_id: str) -> None:
    """Delete an image with its data."""
    url = f'http://127.0.0.1:{side.port}/v2/images/{image_id}'
    answer = requests.delete(url, headers=identity(fill.WRITER))
    if answer.status_code != 204:
        raise RuntimeError(f'{side.name} answers {answer.status_code} to a delete')


def ceiling(stack: contextlib.ExitStack, seconds: float) -> float:
    """Requests a second of the clients against a server that only gives a canned answer."""
    port = glance33.free_port()
    stub = subprocess.Popen(
        [sys.executable, '-S', '-E', str(pathlib.Path(__file__).with_name('stub.py')), str(port)],
        start_new_session=True,
    )
    stack.callback(stub.wait)
    stack.callback(stub.kill)
    time.sleep(0.5)
    client = Client([rows.head('GET', '/', rows.READER)])
    result = load(servers.Side('stub', port, stub.pid, 0), Work([client] * rows.CLIENTS, seconds))
    return result['requests'] / result['elapsed']


# --- telling how far it is


class Progress:
    """A bar where there is a terminal, else a line for each step."""

    WIDTH = 24

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._begun = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def step(self, text: str) -> None:
        self.say(text)
        self._done += 1

    def say(self, text: str) -> None:
        part = self._done / max(1, self._steps)
        if self._terminal:
            bar = '#' * int(part * self.WIDTH)
            left = ''
            if self._done:
                seconds = (time.monotonic() - self._begun) * (1 - part) / part
                left = f', {seconds // 60:.0f} min {seconds % 60:02.0f} s left'
            text = f'\r\033[K[{bar:<{self.WIDTH}}] {part:4.0%}{left}  {text}'
        else:
            text = f'{self._done}/{self._steps} {text}\n'
        print(text, end='', file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._terminal:
            print('\r\033[K', end='', file=sys.stderr, flush=True)


# --- all of it


def run(options: argparse.Namespace, chosen: Sequence[Row], save: Store) -> None:
    """Measure the rows; what is found out is kept after each of them."""
    sides = [side for row in chosen for side in row.sides if not servers.missing(side)]
    told = Progress(options.rounds * len(sides))
    try:
        with contextlib.ExitStack() as stack:
            try:
                suite = Suite(options, stack, told)
                told.say('the clients alone')
                save.put('ceiling', ceiling(stack, min(3.0, options.seconds)))
                places: dict[tuple, list[Row]] = {}
                for row in chosen:
                    key = row.images or options.images, bool(row.images), bool(row.store)
                    places.setdefault(key, []).append(row)
                for (count, scale, _), here in places.items():
                    stores = [row.store for row in here if row.store]
                    usable = [one for one in dict.fromkeys(stores) if not backends.missing(one)]
                    with suite.place(count, scale, usable) as place:
                        if scale:
                            save.filled(count, suite.filled[count])
                        for row in here:
                            save.row(row.name, suite.row(row, place))
            finally:
                # Nothing may cut this short.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                told.say('taking everything down')
    finally:
        told.clear()


class Store:
    """The file of figures, written after each row."""

    def __init__(self, path: pathlib.Path | None, options: argparse.Namespace) -> None:
        self._path = path
        self.figures: dict = {'rows': {}, 'filled': {}}
        if path is not None and path.exists():
            self.figures = json.loads(path.read_text())
        names = ('images', 'seconds', 'rounds', 'size', 'scale')
        self._options = {name: getattr(options, name) for name in names}
        self._versions = None

    def put(self, name: str, value: object) -> None:
        self.figures[name] = value
        if self._path is not None:
            new = self._path.with_name(self._path.name + '.new')
            new.write_text(json.dumps(self.figures, indent=1) + '\n')
            new.replace(self._path)

    def filled(self, count: int, seconds: float) -> None:
        self.figures['filled'][str(count)] = seconds

    def row(self, name: str, found: dict) -> None:
        # Rows of one file may have been measured on different days.
        if self._versions is None:
            self._versions = report.versions()
        made = {**found, 'options': self._options, 'versions': self._versions}
        self.figures['rows'][name] = {**made, 'date': report.today()}
        self.put('machine', report.machine())


def numbers(text: str) -> list[int]:
    return sorted(int(part.replace('_', '')) for part in text.split(','))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='benchmarks/run',
        description='Measure glance-lite beside Glance 33 on the same PostgreSQL and the same '
        'files. The report goes to standard output, progress to standard error. Needs the '
        'environment and the peers that tools/test sets up; see benchmarks/README.rst.',
    )
    add = parser.add_argument
    add('--images', type=int, default=20000, help='images in the database (%(default)s)')
    add('--seconds', type=float, default=5.0, help='of each measurement (%(default)s)')
    add('--rounds', type=int, default=3, help='times each is repeated (%(default)s)')
    add('--size', type=int, default=1024, help='MiB of an upload or download (%(default)s)')
    add('--scale', type=numbers, default=[1000, 10_000, 100_000, 1_000_000], metavar='N,...',
        help='numbers of images that are compared (1000,10000,100000,1000000)')  # fmt: skip
    groups = ', '.join(rows.GROUPS)
    add('--rows', type=lambda text: text.split(','), metavar='NAME,...',
        help=f'these rows alone, or all of a group: {groups}')  # fmt: skip
    add('--quick', action='store_true', help='small sizes, one round: does it work?')
    add('--file', type=pathlib.Path, metavar='FILE.json',
        help='keep all figures there after each row; rows that are in it stay')  # fmt: skip
    add('--resume', action='store_true', help='leave out the rows that are in FILE.json already')
    add('--report', action='store_true', help='measure nothing: print what is in FILE.json')
    add('--plot', type=pathlib.Path, metavar='FILE.svg',
        help='draw rate against images and clients (needs matplotlib)')  # fmt: skip
    add('--list', action='store_true', help='print the names of the rows')
    options = parser.parse_args(arguments)
    if options.quick:
        for name, value in QUICK.items():
            if getattr(options, name) == parser.get_default(name):
                setattr(options, name, value)
    known = table(options)
    names = {row.name for row in known} | set(rows.GROUPS)
    unknown = set(options.rows or ()) - names
    if unknown:
        parser.error(f'--rows: there is no {", ".join(sorted(unknown))}; see --list')
    if min(options.images, *options.scale) < 1000 or len(options.scale) < 2:
        parser.error('at least 1000 images and two numbers of them are needed')
    if options.seconds <= 0 or options.rounds < 1 or options.size < 1:
        parser.error('at least one round, some time and some size are needed')
    if (options.resume or options.report) and options.file is None:
        parser.error('--resume and --report need --file')
    return options


def table(options: argparse.Namespace) -> tuple[Row, ...]:
    return rows.table(options.scale, QUICK_CROWDS if options.quick else rows.CROWDS)


def lacking(options: argparse.Namespace) -> str | None:
    """Why nothing can be measured here."""
    reason = databases.missing('postgresql')
    if reason:
        return reason
    named = os.environ.get(glance33.GLANCE)
    home = pathlib.Path(named) if named else glance33.ROOT / '.cache' / 'glance33'
    if not (home / 'bin' / 'glance-manage').exists():
        return f'Glance 33 is not installed in {glance33.GLANCE} or .cache/glance33'
    # The image, and four uploads at a time
    if shutil.disk_usage(tempfile.gettempdir()).free < 8 * options.size * MIB:
        return f'{tempfile.gettempdir()} has no room for 8 images of {options.size} MiB'
    return None


def _stop(number: int, frame: object) -> None:
    sys.exit(128 + number)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.list:
        print('\n'.join(f'{row.name:<24} {row.title}' for row in table(options)))
        return 0
    store = Store(options.file, options)
    if not options.report:
        reason = lacking(options)
        if reason:
            print(f'benchmarks/run: {reason}', file=sys.stderr)
            return 2
        wanted = set(options.rows or rows.GROUPS)
        done = set(store.figures['rows']) if options.resume else set()
        chosen = [
            row for row in table(options) if wanted & {row.name, row.group} and row.name not in done
        ]
        # As Ctrl-C: what was started is stopped, what was written removed.
        signal.signal(signal.SIGTERM, _stop)
        try:
            if chosen:
                run(options, chosen, store)
        except KeyboardInterrupt:
            kept = '; --resume goes on' if options.file else ''
            print(f'interrupted, and everything taken down{kept}', file=sys.stderr)
            return 130
    print(report.text(store.figures))
    if options.plot:
        from benchmarks import plot

        plot.draw(store.figures, options.plot)
    return 1 if report.errors(store.figures) else 0
