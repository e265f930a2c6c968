# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-replicator`` between a Glance 33 and glance-lite, in both directions."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import random
import signal
import subprocess
import sys
import uuid

import pytest

from glance_lite.cmd import replicator
from tests.backends import bad_wire, databases, keystone
from tests.peers import glance33, lite
from tests.servers import processes

MIB = 2**20
WAYS = [('glance', 'lite'), ('lite', 'glance')]
#: what both sides tell of an image that is the same
SAME = (
    'name', 'disk_format', 'container_format', 'min_disk', 'min_ram', 'owner', 'visibility',
    'protected', 'os_hidden', 'tags', 'size', 'status', 'os_hash_algo', 'os_hash_value', 'checksum',
)  # fmt: skip


class Side:
    """A service, and images in it."""

    def __init__(self, url: str) -> None:
        self.client = lite.Client(url)
        self.url = url

    def image(self, data: bytes | None = None, **values: object) -> str:
        """A new image; its id."""
        body = {'name': 'x', 'disk_format': 'raw', 'container_format': 'bare', **values}
        made = self.client.send(lite.ADMIN, 'POST', '/v2/images', body)
        assert made.status_code == 201, made.text
        image_id = made.json()['id']
        if data is not None:
            path = f'/v2/images/{image_id}/file'
            sent = self.client.send(lite.ADMIN, 'PUT', path, data, lite.OCTETS)
            assert sent.status_code == 204, sent.text
        return image_id

    def patch(self, image_id: str, *steps: dict[str, object]) -> None:
        path = f'/v2/images/{image_id}'
        done = self.client.send(lite.ADMIN, 'PATCH', path, json.dumps(steps), lite.V21)
        assert done.status_code == 200, done.text

    def show(self, image_id: str) -> dict[str, object] | None:
        found = self.client.send(lite.ADMIN, 'GET', f'/v2/images/{image_id}')
        return found.json() if found.status_code == 200 else None

    def data(self, image_id: str) -> bytes:
        return self.client.send(lite.ADMIN, 'GET', f'/v2/images/{image_id}/file').content


@pytest.fixture(scope='module')
def sides(tmp_path_factory):
    """Name -> service."""
    databases.require('postgresql')
    with contextlib.ExitStack() as stack:
        found = {}
        for name, kind in (('glance', glance33), ('lite', lite)):
            directory = tmp_path_factory.mktemp(name)
            stores = lite.make_stores(directory)
            # With SQLite Glance leaves an image saving as soon as two write at once.
            url = databases.create('postgresql')
            more = (0,) if kind is lite else ()
            kind.manage(kind.write_settings(directory, url, stores, *more), 'db', 'sync')
            found[name] = Side(stack.enter_context(kind.running(directory, url, stores)))
        yield found


@pytest.fixture
def tag():
    """Images of one test have it, and no others."""
    return 'of-' + uuid.uuid4().hex


def bytes_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def arguments(command: str, *places: str, **more: object) -> list[str]:
    """A command line with the identity of an administrator at both sides."""
    found = [command, *places]
    for side in {'load': ['to'], 'dump': ['from'], 'size': ['from']}.get(command, ['from', 'to']):
        for name, value in lite.ADMIN.headers().items():
            found += [f'--{side}-header', f'{name}:{value}']
    for name, value in more.items():
        option = '--' + name.replace('_', '-')
        found += [option] if value is True else [option, str(value)]
    return found


@pytest.fixture
def replicate(capsys):
    """Run a command: its exit code and what it tells as JSON."""

    def run(*places: str, **more: object) -> tuple[int, dict[str, object]]:
        capsys.readouterr()
        code = replicator.main(arguments(*places, json=True, **more))
        out = capsys.readouterr()
        assert code in (0, 1), out.err
        return code, json.loads(out.out)

    return run


def actions(told: dict[str, object]) -> dict[str, str]:
    return {row['image']: row['action'] for row in told['images']}


def started(*words: str, **more: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, '-m', 'glance_lite.cmd.replicator', *arguments(*words, **more)],
        cwd=glance33.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


# --- what is brought


@pytest.mark.parametrize(('here', 'there'), WAYS)
def test_all_of_an_image_is_replicated(sides, replicate, tag, here, there):
    source, target = sides[here], sides[there]
    made = [
        source.image(b'', name='empty', tags=[tag]),
        source.image(bytes_of(3 * MIB + 1), name='Grüße', tags=[tag, 'b', 'a'], os_hidden=True),
        source.image(
            bytes_of(1000), tags=[tag], visibility='community', protected=True, min_disk=3,
            min_ram=64, owner='somebody', hw_disk_bus='scsi', colour='', **{'a/b~c': 'd'},
        ),
    ]  # fmt: skip
    waiting = source.image(tags=[tag])
    assert replicate('compare', source.url, target.url, filter=f'tag={tag}')[0] == 1
    code, told = replicate('copy', source.url, target.url, filter=f'tag={tag}')
    assert (code, actions(told)) == (0, {**dict.fromkeys(made, 'created'), waiting: 'skipped'})
    for image_id in made:
        one, other = source.show(image_id), target.show(image_id)
        own = {'colour', 'hw_disk_bus', 'a/b~c'}
        for name in {*SAME, *own}:
            wanted, found = one.get(name), other.get(name)
            assert (
                (sorted(wanted), sorted(found)) == (sorted(wanted),) * 2
                if name == 'tags'
                else (wanted == found)
            ), name
        assert target.data(image_id) == source.data(image_id)
    code, told = replicate('copy', source.url, target.url, filter=f'tag={tag}')
    assert (code, told['counts']) == (0, {'same': 3, 'skipped': 1})
    source.client.send(lite.ADMIN, 'DELETE', f'/v2/images/{waiting}')
    assert replicate('compare', source.url, target.url, filter=f'tag={tag}')[0] == 0


def test_what_differs_is_told_and_sync_makes_it_alike(sides, replicate, tag):
    source, target = sides['lite'], sides['glance']
    query = f'tag={tag}'
    kept = source.image(b'abc', tags=[tag], colour='blue', old='1')
    replicate('copy', source.url, target.url, filter=query)
    source.patch(
        kept,
        {'op': 'replace', 'path': '/colour', 'value': 'red'},
        {'op': 'remove', 'path': '/old'},
        {'op': 'add', 'path': '/new', 'value': '2'},
        {'op': 'replace', 'path': '/name', 'value': 'y'},
    )
    surplus = target.image(b'abc', tags=[tag])
    missing = source.image(b'abc', tags=[tag])
    other_data = str(uuid.uuid4())
    source.image(b'abc', id=other_data, tags=[tag])
    target.image(b'abd', id=other_data, tags=[tag])
    code, told = replicate('compare', source.url, target.url, filter=query)
    assert code == 1
    assert actions(told) == {
        kept: 'differs', surplus: 'surplus', missing: 'missing', other_data: 'differs',
    }  # fmt: skip
    differences = {row['image']: row['differences'] for row in told['images']}
    assert differences[kept].keys() == {'colour', 'old', 'new', 'name'}
    assert differences[kept]['old'] == {'here': None, 'there': '1'}
    assert differences[other_data].keys() == {'data'}
    # What is not to be replicated is not compared either.
    code, told = replicate(
        'compare', source.url, target.url, id=kept, dontreplicate='colour old new name'
    )
    assert (code, told['images']) == (0, [])
    # copy brings what is missing and changes nothing else.
    code, told = replicate('copy', source.url, target.url, filter=query)
    assert (code, told['counts']) == (1, {'created': 1, 'failed': 1, 'same': 1})
    assert target.show(kept)['colour'] == 'blue'
    code, told = replicate('livecopy', source.url, target.url, filter=query)
    assert actions(told) == {kept: 'updated', other_data: 'failed'}
    found = target.show(kept)
    assert (found['colour'], found['new'], found['name'], 'old' in found) == (
        'red',
        '2',
        'y',
        False,
    )
    assert target.show(surplus) is not None and target.data(other_data) == b'abd'
    code, told = replicate('sync', source.url, target.url, filter=query, delete=True)
    assert (code, actions(told)) == (1, {surplus: 'removed', other_data: 'failed'})
    assert target.show(surplus) is None


def test_sync_removes_nothing_that_the_source_has(sides, replicate, tag):
    """An image that no longer matches at the source is not surplus; a protected one stays."""
    source, target = sides['lite'], sides['glance']
    moved = source.image(b'abc', tags=[tag])
    replicate('copy', source.url, target.url, filter=f'tag={tag}')
    source.patch(moved, {'op': 'replace', 'path': '/tags', 'value': []})
    protected = target.image(b'abc', tags=[tag], protected=True)
    code, told = replicate('sync', source.url, target.url, filter=f'tag={tag}', delete=True)
    assert (code, actions(told)) == (1, {protected: 'failed'})
    assert target.show(moved) is not None and target.show(protected) is not None


def test_a_dry_run_changes_nothing(sides, replicate, tag, tmp_path):
    source, target = sides['lite'], sides['glance']
    made = source.image(b'abc', tags=[tag])
    surplus = target.image(b'abc', tags=[tag])
    more = {'filter': f'tag={tag}', 'dry_run': True}
    code, told = replicate('sync', source.url, target.url, delete=True, **more)
    assert (code, actions(told)) == (0, {made: 'created', surplus: 'removed'})
    assert target.show(made) is None and target.show(surplus) is not None
    tmp_path.joinpath('dump').mkdir()
    assert actions(replicate('dump', source.url, str(tmp_path / 'dump'), **more)[1]) == {
        made: 'dumped'
    }
    assert list((tmp_path / 'dump').iterdir()) == []


def test_metadata_alone(sides, replicate, tag):
    source, target = sides['lite'], sides['glance']
    made = source.image(b'abc', tags=[tag], colour='blue')
    code, told = replicate('copy', source.url, target.url, filter=f'tag={tag}', metaonly=True)
    assert (code, actions(told)) == (0, {made: 'created'})
    assert (target.show(made)['status'], target.show(made)['colour']) == ('queued', 'blue')
    # The data follows.
    code, told = replicate('copy', source.url, target.url, filter=f'tag={tag}')
    assert (code, actions(told)) == (0, {made: 'completed'})
    assert target.data(made) == b'abc'


def test_size(sides, replicate, tag):
    source = sides['glance']
    for size in (10, 1000):
        source.image(bytes_of(size), tags=[tag])
    source.image(tags=[tag])
    code, told = replicate('size', source.url, filter=f'tag={tag}')
    assert (code, told['images'], told['bytes']) == (0, 2, 1010)


# --- dumps


@pytest.mark.parametrize(('here', 'there'), WAYS)
def test_a_dump_is_loaded_elsewhere(sides, replicate, tag, tmp_path, here, there):
    source, target = sides[here], sides[there]
    made = [
        source.image(bytes_of(size), tags=[tag], colour='blue', protected=size == 1)
        for size in (0, 1, 3 * MIB)
    ]
    code, told = replicate('dump', source.url, str(tmp_path), filter=f'tag={tag}')
    assert (code, actions(told)) == (0, dict.fromkeys(made, 'dumped'))
    assert {path.name for path in tmp_path.iterdir()} == {
        name for image_id in made for name in (image_id, image_id + '.img')
    }
    code, told = replicate('dump', source.url, str(tmp_path), filter=f'tag={tag}')
    assert (code, told['counts']) == (0, {'same': 3})
    code, told = replicate('load', target.url, str(tmp_path))
    assert (code, actions(told)) == (0, dict.fromkeys(made, 'created'))
    assert replicate('compare', source.url, target.url, filter=f'tag={tag}')[0] == 0
    for image_id in made:
        assert target.data(image_id) == source.data(image_id)
    assert replicate('load', target.url, str(tmp_path))[1]['counts'] == {'same': 3}


def test_a_dump_of_glances_replicator_is_loaded(sides, replicate, tmp_path):
    """As it was written when Glance spoke v1."""
    image_id, data = str(uuid.uuid4()), bytes_of(500)
    old = {
        'id': image_id, 'name': 'old', 'disk_format': 'raw', 'container_format': 'bare',
        'size': '500', 'checksum': hashlib.md5(data).hexdigest(), 'status': 'active',
        'is_public': 'True', 'protected': 'False', 'min_disk': '0', 'min_ram': '0',
        'owner': 'somebody', 'deleted': 'False', 'created_at': '2012-01-01T00:00:00',
        'properties': {'kernel_id': 'k'},
    }  # fmt: skip
    (tmp_path / image_id).write_text(json.dumps(old))
    (tmp_path / (image_id + '.img')).write_bytes(data)
    code, told = replicate('load', sides['lite'].url, str(tmp_path))
    assert (code, actions(told)) == (0, {image_id: 'created'})
    found = sides['lite'].show(image_id)
    assert (found['visibility'], found['kernel_id'], found['size']) == ('public', 'k', 500)


def test_a_dump_that_was_killed_goes_on(sides, replicate, tag, tmp_path):
    source = sides['lite']
    data = bytes_of(24 * MIB)
    made = source.image(data, tags=[tag])
    with bad_wire.wire(source.url) as wire:
        wire.do('hold')
        process = started('dump', wire.url, str(tmp_path), filter=f'tag={tag}', chunksize=65536)
        assert wire.held.wait(60)
        part = tmp_path / (made + '.img.part')
        while not part.exists() or not part.stat().st_size:
            assert process.poll() is None
        kill(process)
        assert {path.name for path in tmp_path.iterdir()} == {part.name}
        # It is recognised as broken off.
        code, told = replicate('load', sides['glance'].url, str(tmp_path))
        assert code == 1 and 'dump it again' in told['images'][0]['problem']
        # As if far more of it had come.
        part.write_bytes(data[: 20 * MIB])
        wire.do(None)
        wire.free.set()
        before = wire.down
        code, _ = replicate('dump', wire.url, str(tmp_path), filter=f'tag={tag}')
        assert code == 0
        assert wire.down - before < 5 * MIB
    assert (tmp_path / (made + '.img')).read_bytes() == data
    assert not part.exists()


def test_a_part_that_is_damaged_is_read_again(sides, replicate, tag, tmp_path):
    data = bytes_of(3 * MIB)
    made = sides['glance'].image(data, tags=[tag])
    (tmp_path / (made + '.img.part')).write_bytes(b'x' * 2 * MIB)
    assert replicate('dump', sides['glance'].url, str(tmp_path), filter=f'tag={tag}')[0] == 0
    assert (tmp_path / (made + '.img')).read_bytes() == data


def test_two_dumps_into_one_directory(sides, replicate, tag, tmp_path):
    """The first one has the image; the second says so."""
    source = sides['lite']
    made = source.image(bytes_of(8 * MIB), tags=[tag])
    with bad_wire.wire(source.url) as wire:
        wire.do('hold')
        process = started('dump', wire.url, str(tmp_path), filter=f'tag={tag}')
        assert wire.held.wait(60)
        code, told = replicate('dump', source.url, str(tmp_path), filter=f'tag={tag}')
        assert code == 1 and 'by another process' in told['images'][0]['problem']
        wire.free.set()
        assert process.wait(60) == 0
    assert (tmp_path / (made + '.img')).read_bytes() == bytes_of(8 * MIB)


# --- what goes wrong on the way


@pytest.mark.parametrize(('here', 'there'), WAYS)
def test_a_copy_that_was_killed_goes_on(sides, replicate, tag, here, there):
    source, target = sides[here], sides[there]
    data = bytes_of(6 * MIB)
    first = source.image(bytes_of(10), tags=[tag])
    made = source.image(data, tags=[tag], protected=True)
    with bad_wire.wire(source.url) as wire:
        wire.do('hold')
        process = started('copy', wire.url, target.url, filter=f'tag={tag}', chunksize=65536)
        assert wire.held.wait(60)
        kill(process)
    assert target.show(made)['status'] in ('queued', 'saving')
    code, told = replicate('copy', source.url, target.url, filter=f'tag={tag}')
    assert code == 0, told
    assert actions(told)[made] == 'completed'
    assert target.data(made) == data and target.data(first) == bytes_of(10)
    assert target.show(made)['protected'] is True


@pytest.mark.parametrize(('here', 'there'), WAYS)
def test_bytes_that_were_damaged_make_no_image(sides, replicate, tag, here, there):
    source, target = sides[here], sides[there]
    made = source.image(bytes_of(4 * MIB), tags=[tag])
    with bad_wire.wire(source.url) as wire:
        wire.do('flip')
        code, told = replicate('copy', wire.url, target.url, filter=f'tag={tag}', attempts=2)
        assert (code, actions(told)) == (1, {made: 'failed'})
        assert 'of the data is another one' in told['images'][0]['problem']
        assert target.show(made)['status'] == 'queued'
        # Damaged once only: the second try is good.
        wire.do('flip', times=1)
        code, told = replicate('copy', wire.url, target.url, filter=f'tag={tag}')
        assert (code, actions(told)) == (0, {made: 'completed'})
    assert target.data(made) == bytes_of(4 * MIB)


def test_bytes_that_were_damaged_behind_us_are_removed(sides, replicate, tag):
    """On the way to the target: its digest tells it."""
    for here, there in WAYS:
        source, target = sides[here], sides[there]
        made = source.image(bytes_of(4 * MIB), tags=[tag])
        with bad_wire.wire(target.url) as wire:
            wire.do('flip')
            code, told = replicate('copy', source.url, wire.url, id=made, attempts=1)
        assert (code, actions(told)) == (1, {made: 'failed'})
        assert target.show(made) is None


@pytest.mark.parametrize(('here', 'there'), WAYS)
def test_a_source_that_breaks_off_is_read_on(sides, replicate, tag, here, there):
    source, target = sides[here], sides[there]
    made = source.image(bytes_of(6 * MIB), tags=[tag])
    with bad_wire.wire(source.url) as wire:
        wire.do('cut', times=2)
        code, told = replicate('copy', wire.url, target.url, filter=f'tag={tag}', attempts=1)
        assert (code, actions(told)) == (0, {made: 'created'}), told
        assert wire.down < 9 * MIB
    assert target.data(made) == bytes_of(6 * MIB)


@pytest.mark.parametrize(('here', 'there'), WAYS)
def test_a_target_that_breaks_off_is_tried_again(sides, replicate, tag, here, there):
    source, target = sides[here], sides[there]
    made = source.image(bytes_of(4 * MIB), tags=[tag])
    with bad_wire.wire(target.url) as wire:
        wire.do('cut')
        code, told = replicate('copy', source.url, wire.url, filter=f'tag={tag}', attempts=1)
        assert (code, actions(told)) == (1, {made: 'failed'})
        assert target.show(made)['status'] == 'queued'
        wire.do('cut', times=1)
        code, told = replicate('copy', source.url, wire.url, filter=f'tag={tag}')
        assert (code, actions(told)) == (0, {made: 'completed'}), told
    assert target.data(made) == bytes_of(4 * MIB)


def test_several_at_once(sides, replicate, tag):
    source, target = sides['lite'], sides['glance']
    made = [source.image(bytes_of(3 * MIB + number), tags=[tag]) for number in range(4)]
    with bad_wire.wire(source.url) as wire:
        wire.do('hold', times=2)
        process = started('copy', wire.url, target.url, filter=f'tag={tag}', workers=2)
        while wire.busiest < 2:
            assert process.poll() is None
        wire.free.set()
        assert process.wait(120) == 0
        assert wire.busiest == 2
    for number, image_id in enumerate(made):
        assert target.data(image_id) == bytes_of(3 * MIB + number)


def test_an_id_that_is_taken(sides, replicate, tag):
    """An id is never used again, not even that of an image that was deleted."""
    source, target = sides['lite'], sides['glance']
    made = source.image(b'abc', tags=[tag])
    target.image(b'abc', id=made)
    target.client.send(lite.ADMIN, 'DELETE', f'/v2/images/{made}')
    code, told = replicate('copy', source.url, target.url, filter=f'tag={tag}')
    assert (code, actions(told)) == (1, {made: 'failed'})
    assert '409' in told['images'][0]['problem']


def test_interrupted(sides, tag):
    source, target = sides['lite'], sides['glance']
    made = source.image(bytes_of(4 * MIB), tags=[tag])
    with bad_wire.wire(source.url) as wire:
        wire.do('hold')
        process = started('copy', wire.url, target.url, filter=f'tag={tag}')
        assert wire.held.wait(60)
        process.send_signal(signal.SIGINT)
        wire.free.set()
        assert process.wait(60) == replicator.INTERRUPTED
    assert target.show(made)['status'] in ('queued', 'active')


def test_a_terminal_sees_a_bar(sides, tag):
    source, target = sides['lite'], sides['glance']
    source.image(bytes_of(2 * MIB), tags=[tag], name='a\x1b[31mred')
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable, '-m', 'glance_lite.cmd.replicator',
            *arguments('copy', source.url, target.url, filter=f'tag={tag}'),
        ],
        cwd=glance33.ROOT, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b''
    with contextlib.suppress(OSError):
        while chunk := os.read(ours, 65536):
            shown += chunk
    os.close(ours)
    assert process.wait(60) == 0
    assert b'[' + b'#' * 40 + b'] 2097152/2097152 bytes' in shown
    # What a name has in it does nothing to a terminal.
    assert b'a?[31mred' in shown and b'\x1b[31m' not in shown


def test_credentials_come_from_where_operators_have_them(tmp_path, monkeypatch, capsys):
    """clouds.yaml on one side, the environment on the other, of a real Keystone; and a token."""
    region = keystone.cloud().region()
    east = region.user('east', roles=('admin', 'member', 'reader'))
    made = processes.settings(
        tmp_path / 'glance', database=databases.create('postgresql'), flavor='keystone',
        more=region.authtoken(memcached_servers=keystone.memcached()),
    )  # fmt: skip
    with processes.api(made) as server:
        region.serves(server.url)
        image = east.connect().image.create_image(
            name='x', data=b'abc', disk_format='raw', container_format='bare', wait=True
        )
        names = ('username', 'password', 'project_name', 'user_domain_id', 'project_domain_id')
        cloud = {
            'region_name': region.name,
            'auth': {
                name: value for name, value in east.settings.items() if name in (*names, 'auth_url')
            },
        }
        (tmp_path / 'clouds.yaml').write_text(json.dumps({'clouds': {'east': cloud}}))
        monkeypatch.setenv('OS_CLIENT_CONFIG_FILE', str(tmp_path / 'clouds.yaml'))
        for name, value in east.environment.items():
            monkeypatch.setenv('WEST_' + name, value)
        code = replicator.main(['compare', 'cloud:east', 'env:WEST', '--id', image.id])
        assert (code, *capsys.readouterr()) == (0, '1 same\n', '')
        code = replicator.main(['size', server.url, '--token', east.token(), '--id', image.id])
        assert (code, capsys.readouterr().out) == (0, '1 images, 3 bytes (3 B)\n')
        # Nothing of a credential is told.
        code = replicator.main(['size', 'env:WEST', '--from-auth', 'password=wrong-one'])
        said = capsys.readouterr().err
        assert code == 2 and 'wrong-one' not in said and said.count('\n') == 1
        code = replicator.main(['size', server.url, '--token', 'a-bad-token'])
        said = capsys.readouterr().err
        assert code == 2 and '401' in said and 'a-bad-token' not in said
        code = replicator.main(['size', 'cloud:nowhere'])
        assert code == 2 and 'nowhere' in capsys.readouterr().err
