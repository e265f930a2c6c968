# SPDX-License-Identifier: Apache-2.0
"""A gateway with a cache in front of a store that can fail, in this process and in others.

``python -m tests.unit.cache.world DIRECTORY FAULT...`` reads the image of `World` as one more
process of the host, dies where the faults say, and prints the digest of what it got.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys

from glance_lite.cache.directory import Directory
from glance_lite.cache.growing import Growing
from glance_lite.model import Location, Wanted
from glance_lite.testing.faults import Plan, sleep_native
from glance_lite.testing.layers import make_image, make_parts

CONFIGURATION = """
[DEFAULT]
enabled_backends = slow:faulty,spare:file
image_cache_dir = {directory}/cache
image_cache_max_size = {limit}
{default}
[glance_store]
default_backend = slow
[slow]
faulty_type = file
filesystem_store_datadir = {directory}/slow
fault_counters = {directory}/counters
fault = before get 1000000 delay 0
{faults}
[spare]
filesystem_store_datadir = {directory}/spare
"""

MIB = 1024 * 1024

#: Where a process can be killed on its way: methods of these.
PLACES = {
    'admit': Directory, 'publish': Directory, 'begin': Growing, '_fetch': Growing,
    '_append': Growing, '_judge': Growing,
}  # fmt: skip


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes no two MiB of which are alike."""
    return hashlib.shake_128(seed.to_bytes(8, 'big')).digest(size)


class World:
    """One host: a directory with a store and a cache."""

    def __init__(
        self, directory: pathlib.Path, *faults: str, limit: int = 100 * MIB, default: str = ''
    ) -> None:
        self.directory = directory
        lines = '\n'.join(f'fault = {line}' for line in faults)
        text = CONFIGURATION.format(directory=directory, limit=limit, faults=lines, default=default)
        (directory / 'text').write_text(text)
        self.gateway = make_parts(directory, text).gateway
        self.gateway.cache.serves = True

    def image(self, size: int = 5 * MIB + 17, seed: int = 1, **fields):
        """An image with data in the store."""
        data = noise(size, seed)
        image_id = f'{seed:08x}-0000-4000-8000-000000000000'
        driver = self.gateway.stores['slow'].driver
        url = driver.add(image_id, io.BytesIO(data), len(data))
        values = {
            'size': size,
            'os_hash_algo': 'sha512',
            'os_hash_value': hashlib.sha512(data).hexdigest(),
            'checksum': hashlib.md5(data, usedforsecurity=False).hexdigest(),
            'locations': (Location(1, url, {'store': 'slow'}),),
            **fields,
        }
        return make_image(image_id, **values)

    def note(self, image) -> None:
        """Let other processes know the image."""
        found = {
            'id': image.id, 'size': image.size, 'hash': image.os_hash_value,
            'url': image.locations[0].url,
        }  # fmt: skip
        (self.directory / 'image.json').write_text(json.dumps(found))

    def noted(self):
        found = json.loads((self.directory / 'image.json').read_text())
        return make_image(
            found['id'],
            size=found['size'],
            os_hash_algo='sha512',
            os_hash_value=found['hash'],
            locations=(Location(1, found['url'], {'store': 'slow'}),),
        )

    def read(self, image, **wanted) -> bytes:
        download = self.gateway.open(image, Wanted(**wanted))
        try:
            got = b''.join(download)
            assert len(got) == download.length
            return got
        finally:
            download.close()

    def files(self, part: str = 'whole') -> list[str]:
        return sorted(path.name for path in (self.directory / 'cache' / part).iterdir())

    def reads(self) -> int:
        """How many times the backend was opened, by all processes."""
        path = self.directory / 'counters' / 'before-get'
        return path.stat().st_size if path.exists() else 0

    def settled(self) -> None:
        """Wait until nothing is under way in this process."""
        for growing in [*self.gateway.cache._under_way.values()]:
            try:
                growing.wait_over()
            except Exception:
                continue

    def process(self, *faults: str) -> subprocess.Popen[str]:
        """One more process that reads the noted image."""
        return subprocess.Popen(
            [sys.executable, '-m', 'tests.unit.cache.world', str(self.directory), *faults],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=pathlib.Path(__file__).resolve().parents[3],
        )


def _around(plan: Plan, place: str) -> None:
    kind = PLACES[place]
    method = getattr(kind, place)

    def planned(*args, **kwargs):
        with plan.around(place):
            return method(*args, **kwargs)

    setattr(kind, place, planned)


def main(directory: pathlib.Path, *faults: str) -> None:
    plan = Plan(faults, sleep_native, str(directory / 'cache-counters'))
    for place in plan.places():
        _around(plan, place)
    world = World.__new__(World)
    world.directory = directory
    mine = directory / f'process-{os.getpid()}'
    mine.mkdir()
    world.gateway = make_parts(mine, (directory / 'text').read_text()).gateway
    world.gateway.cache.serves = True
    image = world.noted()
    data = world.read(image)
    world.settled()
    print(hashlib.sha512(data).hexdigest())


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]), *sys.argv[2:])
