#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An import that converts: a qcow2 becomes raw and goes into three stores at once.

Glance 33 and glance-lite take turns, each on a database and in stores of its own that hold
nothing else: files, a Ceph (rbd) and a radosgw (s3). Measured is from the import request until
the image is active with all its copies, which are then read from the backends themselves.
``--help`` says what can be set; the report is reStructuredText. The exit code is 1 if any copy
is not what it must be, 2 if nothing can be measured.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from benchmarks import backends, fill, servers, stored
from tests.backends import databases
from tests.peers import glance33, lite

MIB = 1024 * 1024
#: bytes of the pieces of the disk, each of which is random or zeros
PIECE = MIB
#: MiB of the disk that is imported before anything is measured
FIRST = 4
#: seconds between two looks at the memory
LOOK = 0.1
#: seconds of an import
PATIENCE = 3600

SETTINGS = """
workers = 1
worker_self_reference_url = http://127.0.0.1:{port}
enabled_import_methods = [glance-direct]
{stores}
[image_import_opts]
image_import_plugins = [image_conversion]
max_parallel_stores = {parallel}
[image_conversion]
output_format = raw
[os_glance_staging_store]
filesystem_store_datadir = {own}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {own}/tasks
"""
STORES = ('file', 'rbd', 's3')
TITLES = {'glance': 'Glance 33', 'lite': 'glance-lite'}

Figures = dict[str, Any]


# --- what is imported


@dataclasses.dataclass(frozen=True)
class Disk:
    """A qcow2, and what is in it."""

    path: pathlib.Path
    #: bytes of the disk
    size: int
    #: SHA-512 of the raw data
    digest: str


def make_disk(path: pathlib.Path, size: int, filled: int) -> Disk:
    """A disk of `size` MiB, of which `filled` percent are random data, spread over all of it."""
    raw, source, digest = path.with_suffix('.raw'), random.Random(size), hashlib.sha512()
    with open(raw, 'wb') as out:
        for number in range(size * MIB // PIECE):
            piece = bytes(PIECE)
            if (number + 1) * filled // 100 > number * filled // 100:
                piece = source.randbytes(PIECE)
            if number == 0:
                piece = bytes(512) + piece[512:]  # no format begins like that
            digest.update(piece)
            out.write(piece)
    command = ['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', str(raw), str(path)]
    subprocess.run(command, check=True)
    raw.unlink()
    return Disk(path, size * MIB, digest.hexdigest())


# --- the services


@contextlib.contextmanager
def service(
    name: str, own: pathlib.Path, database: str, behind: backends.Backends, parallel: int
) -> Iterator[servers.Side]:
    """One of the two, on this database and these stores."""
    for part in ('images', 'staging', 'tasks'):
        (own / part).mkdir(parents=True, exist_ok=True)
    port = glance33.free_port()
    text = SETTINGS.format(own=own, port=port, stores=behind.settings(), parallel=parallel)
    if name == 'glance':
        etc = glance33.write_settings(own, database, text)
        command = glance33.command(port, 1, servers.THREADS)
        environment = glance33.environment(etc)
    else:
        file = lite.write_settings(own, database, text, port)
        command = [servers.tool('glance-lite-api'), '--config-file', str(file)]
        environment = {}
    with servers._running(name, command, own, port, environment) as side:
        yield side


def make_tables(directory: pathlib.Path) -> str:
    """A database with the tables of both; the url of what is copied for each measurement."""
    url = databases.create('postgresql')
    world = servers.World('template', directory, url)
    servers.prepare(world)
    return url


def cpu(pids: list[int]) -> float:
    """Seconds of processor time of these and of what they have started and seen end."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
            total += sum(int(field) for field in fields[11:15])
    return total / servers.TICK


class Memory(threading.Thread):
    """The most MiB that a service has while a block runs, and its qemu-img apart."""

    def __init__(self, side: servers.Side) -> None:
        super().__init__(daemon=True)
        self._side = side
        self._over = threading.Event()
        self.service = 0.0
        self.qemu = 0.0

    def run(self) -> None:
        self._look()
        while not self._over.wait(LOOK):
            self._look()

    def _look(self) -> None:
        pids = self._side.pids()
        qemu = [pid for pid in pids if _name(pid) == 'qemu-img']
        others = [pid for pid in pids if pid not in qemu]
        self.service = max(self.service, servers.proportional(others))
        self.qemu = max(self.qemu, servers.proportional(qemu))

    def __enter__(self) -> Memory:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self.join()


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return pathlib.Path(f'/proc/{pid}/comm').read_text().strip()
    return ''


# --- an import


class Importer:
    """Imports disks into the stores of a service, by glance-direct."""

    def __init__(self, side: servers.Side, stores: list[str]) -> None:
        self._client = lite.Client(f'http://127.0.0.1:{side.port}')
        self._stores = stores

    def staged(self, disk: Disk) -> str:
        """The id of an image whose data waits for the import."""
        fields = {'disk_format': 'qcow2', 'container_format': 'bare'}
        image_id = str(self._ask(201, 'POST', '/images', fields).json()['id'])
        with open(disk.path, 'rb') as data:
            self._ask(204, 'PUT', f'/images/{image_id}/stage', data, lite.OCTETS)
        return image_id

    def run(self, image_id: str) -> Figures:
        """Import it; seconds, the image, and what its task has said meanwhile."""
        begun = time.monotonic()
        body = {'method': {'name': 'glance-direct'}, 'stores': self._stores}
        self._ask(202, 'POST', f'/images/{image_id}/import', body)
        said: list[str] = []
        while True:
            image = self._ask(200, 'GET', f'/images/{image_id}').json()
            took = time.monotonic() - begun
            if self._over(image):
                break
            if took > PATIENCE:
                raise RuntimeError(f'the import does not end: {image}')
            said += [text for text in self._said(image_id) if text not in said]
            # Looks cost the service something: as many in a long import as in a short one.
            time.sleep(max(0.05, took / 50))
        self._settle(image_id)
        return {'seconds': took, 'image': image, 'said': said, 'percents': percents(said)}

    def _settle(self, image_id: str) -> None:
        """Wait until the import has tidied up and let go of the image."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            image = self._ask(200, 'GET', f'/images/{image_id}').json()
            if not image.get('os_glance_import_task'):
                return
            time.sleep(0.1)

    def delete(self, image_id: str) -> None:
        self._ask(204, 'DELETE', f'/images/{image_id}')

    def _over(self, image: Figures) -> bool:
        if image['status'] == 'importing' or image.get('os_glance_importing_to_stores'):
            return False
        # Before the import has begun it is uploading; queued is what it is after a failure.
        return image['status'] in ('active', 'queued', 'killed')

    def _said(self, image_id: str) -> list[str]:
        tasks = self._ask(200, 'GET', f'/images/{image_id}/tasks').json()['tasks']
        return [str(task['message']) for task in tasks if task['message']]

    def _ask(self, wanted: int, method: str, path: str, *rest: Any) -> Any:
        answer = self._client.send(lite.MEMBER, method, f'/v2{path}', *rest)
        if answer.status_code != wanted:
            raise RuntimeError(f'{method} {path}: {answer.status_code} {answer.text}')
        return answer


def percents(said: list[str]) -> list[int]:
    """The different percents in these messages, in the order in which they were seen."""
    found = [int(match[1]) for text in said if (match := re.match(r'(\d+) percent', text))]
    return list(dict.fromkeys(found))


# --- what there is in the end


def left(staging: pathlib.Path) -> list[str]:
    """Names of what is still staged some time after an import."""
    deadline = time.monotonic() + 30
    while names := sorted(path.name for path in staging.iterdir()):
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return names


def faults(found: Figures, disk: Disk, stores: list[str]) -> list[str]:
    """What is not as it must be, in words."""
    image = found['image']
    wanted = {
        'status': 'active', 'disk_format': 'raw', 'size': disk.size, 'virtual_size': disk.size,
        'os_hash_value': disk.digest,
    }  # fmt: skip
    wrong = [
        f'{name} is {image.get(name)}' for name, value in wanted.items() if image.get(name) != value
    ]
    if sorted(image.get('stores', '').split(',')) != sorted(stores):
        wrong.append(f'it is in {image.get("stores")}')
    for store in stores:
        if found['digests'].get(store) != disk.digest:
            wrong.append(f'{store} has other data: {found["digests"].get(store)}')
    if found['percents'] != sorted(found['percents']):
        wrong.append(f'the percents went back: {found["percents"]}')
    if found['left']:
        wrong.append(f'left in the staging directory: {found["left"]}')
    wrong += [
        f'{name} is {found[name]}' for name in ('seconds', 'cpu', 'memory') if found[name] <= 0
    ]
    return wrong


# --- measuring


def measure(
    name: str, args: argparse.Namespace, own: pathlib.Path, template: str, disks: list[Disk]
) -> Figures:
    """One import of the last disk, after one of the first, in stores that are made for it."""
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, own, ignore_errors=True)
        url = fill.copy_of(template, own.name.replace('-', '_'))
        stack.callback(databases.drop, url)
        own.mkdir()
        behind = backends.start(args.stores, own, args.size * MIB, stack)
        with service(name, own, url, behind, args.parallel) as side:
            importer = Importer(side, args.stores)
            # It loads its libraries and makes its bucket.
            for disk in disks:
                image_id = importer.staged(disk)
                before = cpu(side.pids())
                with Memory(side) as memory:
                    found = importer.run(image_id)
                found['cpu'] = cpu(side.pids()) - before
                found['memory'], found['qemu'] = memory.service, memory.qemu
                found['left'] = left(own / 'staging')
                found['digests'] = {
                    store: stored.digest(*behind.stores[store], image_id) for store in args.stores
                }
                found['wrong'] = faults(found, disk, args.stores)
                importer.delete(image_id)
    # What the objects have left behind in Ceph, with their owner.
    behind.sweep()
    return found


def run(args: argparse.Namespace, directory: pathlib.Path) -> dict[str, list[Figures]]:
    """All rounds of each side."""
    figures: dict[str, list[Figures]] = {name: [] for name in args.sides}
    with databases.session():
        template = make_tables(directory)
        disks = [
            make_disk(directory / f'{name}.qcow2', size, args.filled)
            for name, size in (('first', min(FIRST, args.size)), ('disk', args.size))
        ]
        for number in range(args.rounds):
            # Each goes first in turn.
            for name in args.sides if number % 2 == 0 else reversed(args.sides):
                own = directory / f'{name}-{os.getpid()}-{number}'
                found = measure(name, args, own, template, disks)
                figures[name].append(found)
                print(f'{TITLES[name]}, round {number + 1}: {found["seconds"]:.1f} s, '
                      f'{found["cpu"]:.1f} s of processor; {"; ".join(found["wrong"]) or "right"}',
                      file=sys.stderr)  # fmt: skip
        databases.drop(template)
    return figures


def middle(rounds: list[Figures], key: str) -> float:
    return float(statistics.median(one[key] for one in rounds))


def report(args: argparse.Namespace, figures: dict[str, list[Figures]]) -> None:
    """A table in reStructuredText."""
    print(f'A qcow2 of {args.size} MiB, {args.filled} % of it filled, to raw into '
          f'{", ".join(args.stores)}, {args.parallel} at a time, medians of {args.rounds} rounds:\n'
          )  # fmt: skip
    print('.. list-table::\n   :header-rows: 1\n')
    rows: list[tuple[object, ...]] = [(
        'Service', 'Seconds', 'CPU s', 'Memory, MiB', 'of qemu-img, MiB', 'Percents seen',
        'Messages seen', 'Errors',
    )]  # fmt: skip
    for name, rounds in figures.items():
        rows.append((
            TITLES[name], f'{middle(rounds, "seconds"):.2f}', f'{middle(rounds, "cpu"):.2f}',
            f'{middle(rounds, "memory"):.0f}', f'{middle(rounds, "qemu"):.0f}',
            f'{statistics.median(len(one["percents"]) for one in rounds):g}',
            f'{statistics.median(len(one["said"]) for one in rounds):g}',
            sum(len(one['wrong']) for one in rounds),
        ))  # fmt: skip
    for row in rows:
        print('   * - ' + '\n     - '.join(str(cell) for cell in row))
    if len(figures) == 2:
        print('\nGlance took ' + ', '.join(
            f'{ratio(figures, key)} times the {what}' for key, what in
            (('seconds', 'time'), ('cpu', 'processor time'), ('memory', 'memory'))
        ) + '.')  # fmt: skip


def ratio(figures: dict[str, list[Figures]], key: str) -> str:
    """Glance's to ours, round by round."""
    pairs = zip(figures['glance'], figures['lite'], strict=True)
    each = [glance[key] / max(ours[key], 1e-6) for glance, ours in pairs]
    spread = f' ({min(each):.2f} to {max(each):.2f})' if len(each) > 1 else ''
    return f'{statistics.median(each):.2f}{spread}'


# --- from the command line


def lacking(args: argparse.Namespace) -> str | None:
    """Why nothing can be measured here."""
    if shutil.which('qemu-img') is None:
        return 'qemu-img is not installed (apt-get install qemu-utils)'
    for reason in (databases.missing('postgresql'), *map(backends.missing, args.stores)):
        if reason:
            return reason
    # The qcow2, what is staged and what it becomes, and a copy
    if shutil.disk_usage(tempfile.gettempdir()).free < 5 * args.size * MIB:
        return f'{tempfile.gettempdir()} has no room for 5 disks of {args.size} MiB'
    if len(args.stores) > 1:
        return backends.lacking(args.stores, args.size * MIB // 2)  # two copies, and what goes
    return None


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('--size', type=int, default=2048, help='of the disk, in MiB (2048)')
    add('--filled', type=int, default=50, help='percent of it that are not zeros (50)')
    add('--stores', default=','.join(STORES), help='where to, some of file,rbd,s3 (all)')
    add('--parallel', type=int, default=3, help='how many stores at a time (3)')
    add('--rounds', type=int, default=3, help='how often (3)')
    add('--sides', default='glance,lite', help='glance,lite or one of them')
    add('--file', help='keep all figures there, as JSON')
    args = parser.parse_args()
    args.stores, args.sides = args.stores.split(','), args.sides.split(',')
    if not set(args.stores) <= set(STORES) or not set(args.sides) <= set(TITLES):
        parser.error('--stores are some of file,rbd,s3 and --sides some of glance,lite')
    if min(args.size, args.rounds, args.parallel) < 1 or not 0 <= args.filled <= 100:
        parser.error('at least a MiB, a round and a store at a time, and 0 to 100 percent')
    return args


def _stop(number: int, frame: object) -> None:
    sys.exit(128 + number)


def main() -> int:
    args = parse()
    reason = lacking(args)
    if reason:
        print(f'conversion.py: {reason}', file=sys.stderr)
        return 2
    # As Ctrl-C: what was started is stopped, what was written removed.
    signal.signal(signal.SIGTERM, _stop)
    directory = pathlib.Path(tempfile.mkdtemp(prefix='glance-lite-conversion-'))
    try:
        figures = run(args, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if args.file:
        pathlib.Path(args.file).write_text(json.dumps(figures, indent=2))
    report(args, figures)
    return 1 if any(one['wrong'] for rounds in figures.values() for one in rounds) else 0


if __name__ == '__main__':
    sys.exit(main())
