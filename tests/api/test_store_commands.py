# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage store``: what is shown, checked, copied and moved, and what is refused."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest
from oslo_config import cfg

from glance_lite import logs
from glance_lite.cmd import manage
from tests.api.harness import ADMIN, App
from tests.servers.test_servers import MIB, noise

DATA = noise(2 * MIB)

#: ``far`` is on another file system, so that nothing but a process can copy to it.
STORES = """
enabled_backends = fast:file,cheap:file,far:file,web:http
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
store_description = the first one
[cheap]
filesystem_store_datadir = {directory}/cheap
weight = 7
[far]
filesystem_store_datadir = FAR
"""


class Scene:
    """A service, and somebody at the command line of its host."""

    def __init__(self, app: App, far: pathlib.Path, capsys) -> None:
        self.app = app
        self.file = app.directory / 'glance-api.conf'
        self.far = far
        self._capsys = capsys

    def run(self, *command: str) -> tuple[int, str, str]:
        """(exit code, what it says, what it complains of)."""
        self._capsys.readouterr()
        code = manage.main(['--config-file', str(self.file), *command], cfg.ConfigOpts())
        return code, *self._capsys.readouterr()

    def store(self, *command: str) -> tuple[int, str, str]:
        return self.run('store', *command)

    def json(self, *command: str, code: int = 0):
        found = self.store(*command, '--format', 'json')
        assert found[0] == code, found
        return json.loads(found[1])

    def path(self, store: str) -> pathlib.Path:
        return self.far if store == 'far' else self.app.directory / store

    def files(self, store: str) -> list[str]:
        return sorted(os.listdir(self.path(store)))

    def image(self, store: str = 'cheap') -> str:
        """A new image in a store."""
        made = self.app.create(disk_format='raw', container_format='bare')
        answer = self.app.put(made['id'], DATA, headers={'X-Image-Meta-Store': store})
        assert answer.status == 204
        return made['id']

    def show(self, image_id: str):
        return self.app.get(f'/v2/images/{image_id}', **ADMIN).json

    def download(self, image_id: str, store: str) -> bytes:
        return self.app.get(f'/v2/images/{image_id}/file?prefer={store}').body

    def configure(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new, 1))


@pytest.fixture
def far():
    if os.stat('/dev/shm').st_dev == os.stat(tempfile.gettempdir()).st_dev:
        pytest.skip('there is one file system only')
    with tempfile.TemporaryDirectory(dir='/dev/shm') as directory:
        yield pathlib.Path(directory)


@pytest.fixture
def scene(far, make_app, capsys, monkeypatch):
    monkeypatch.setattr(logs, 'setup', lambda conf: None)  # it is for a whole process
    return Scene(make_app(stores=STORES.replace('FAR', str(far))), far, capsys)


@pytest.fixture
def image(scene):
    return scene.image()


# --- list, check, usage


def test_stores_are_listed(scene):
    code, out, err = scene.store('list')
    assert (code, err) == (0, '')
    first, second, _, last = out.splitlines()
    assert first.split()[:2] == ['fast', 'file'] and first.endswith('default')
    assert 'weight 7' in second and 'copy' in second
    assert 'reading only' in last
    found = scene.json('list')['stores']
    assert [one['id'] for one in found] == ['fast', 'cheap', 'far', 'web']
    assert found[0]['description'] == 'the first one'


def test_stores_are_checked(scene):
    code, out, _ = scene.store('check', '--write')
    assert code == 0
    assert out.count('is well') == 4
    for store in ('fast', 'cheap', 'far'):
        assert scene.files(store) == []
    found = scene.json('check', '--store', 'cheap')
    assert found == {'stores': [{'id': 'cheap', 'type': 'file', 'faults': []}], 'wrong': 0}
    assert scene.store('check', '--store', 'nosuch')[0] == 1


FAULTS = {
    'before start 1- fail StoreUnavailable': 'Fault injected',
    'before check 1- fail StoreUnavailable': 'Fault injected',
    'before add 1 fail StoreFull': 'Store fast cannot be written to: ',
    'before size 1 fail ObjectNotFound': 'Store fast does not know the size of what it holds: ',
    'before get 1 fail StoreDenied': 'Store fast does not give back what was written: ',
    'before get 3 fail StoreUnavailable': 'Store fast does not give the parts that are asked for: ',
    'before add 3 fail StoreUnavailable': 'Store fast takes no data of unknown size: ',
    'before delete 2 fail InUse': 'Store fast does not remove what it should: ',
}


def test_each_fault_is_a_sentence(scene):
    """One store at a time is broken, in one way, and the others are checked all the same."""
    text = scene.file.read_text().replace('fast:file', 'fast:faulty')
    for fault, said in FAULTS.items():
        scene.file.write_text(text.replace('[fast]\n', f'[fast]\nfault = {fault}\n'))
        code, out, _ = scene.store('check', '--write')
        first, *others = out.splitlines()
        assert code == 1 and said in first, (fault, out)
        assert others == [
            'Store cheap is well', 'Store far is well', 'Store web is well',
            '4 stores checked, 1 not well',
        ], fault  # fmt: skip
        shutil.rmtree(scene.path('fast'))


def test_wrong_settings_are_a_sentence_too(scene):
    scene.configure('[cheap]\n', '[cheap]\nfilesystem_store_metadata_file = /no/such/file\n')
    code, out, _ = scene.store('check')
    assert code == 1
    assert 'filesystem_store_metadata_file: /no/such/file cannot be read' in out
    assert out.count('is well') == 3


def test_usage_is_counted(scene, image):
    found = {one['store']: one for one in scene.json('usage')['stores']}
    assert (found['cheap']['images'], found['cheap']['bytes']) == (1, len(DATA))
    assert found['fast']['images'] == 0 and found['fast']['free'] > 0
    assert '2.0 MiB' in scene.store('usage')[1]


# --- copy, verify


def test_a_copy_is_made_and_verified(scene, image):
    found = scene.json('copy', image, '--to', 'fast')
    assert found == {'images': [{'image': image, 'problem': None}], 'failed': 0}
    # To another file system through the process.
    assert scene.store('copy', image, '--to', 'far')[0] == 0
    assert scene.files('fast') == scene.files('far') == [image]
    code, out, _ = scene.store('verify', image)
    assert code == 0 and out.count('as it should be') == 3
    assert set(scene.show(image)['stores'].split(',')) == {'cheap', 'fast', 'far'}
    for store in ('fast', 'cheap', 'far'):
        assert scene.download(image, store) == DATA
    assert scene.app.request('DELETE', f'/v2/images/{image}').status == 204
    assert scene.files('fast') == scene.files('cheap') == scene.files('far') == []


@pytest.mark.parametrize(
    ('to', 'said'),
    [
        ('cheap', 'has a copy in store cheap'),
        ('web', 'Store web takes no data'),
        ('nosuch', 'There is no store nosuch'),
    ],
)
def test_where_no_copy_can_be(scene, image, to, said):
    code, out, _ = scene.store('copy', image, '--to', to)
    assert code == 1 and said in out


def test_an_image_without_data_is_not_copied(scene):
    queued = scene.app.create()['id']
    code, out, _ = scene.store('copy', queued, '--to', 'far')
    assert code == 1 and 'has no data to copy' in out
    code, out, err = scene.store('copy', 'nosuch', '--to', 'far')
    assert code == 1 and 'No image found' in err


def test_damage_is_found_and_not_copied(scene, image):
    path = scene.path('cheap') / image
    with open(path, 'r+b') as file:
        file.seek(MIB)
        file.write(b'damage')
    (found,) = scene.json('verify', image, code=1)['locations']
    assert (found['store'], found['problem']) == ('cheap', 'The sha512 is another one')
    code, out, _ = scene.store('copy', image, '--to', 'far')
    assert code == 1 and 'is damaged' in out
    assert scene.files('far') == []
    os.truncate(path, MIB)
    code, out, _ = scene.store('verify', image)
    assert code == 1 and f'There are {MIB} bytes, and not {len(DATA)}' in out
    code, out, _ = scene.store('copy', image, '--to', 'fast')
    assert code == 1 and f'has {MIB} bytes, not {len(DATA)}' in out
    assert scene.files('fast') == []
    os.unlink(path)
    assert scene.store('verify', image)[0] == 1


# --- evacuate


def test_a_store_is_evacuated(scene):
    moving = [scene.image() for _ in range(3)]
    deactivate = f'/v2/images/{moving[2]}/actions/deactivate'
    assert scene.app.request('POST', deactivate, **ADMIN).status == 204
    # Half done: one has a copy there already.
    assert scene.store('copy', moving[0], '--to', 'far')[0] == 0
    found = scene.json('evacuate', 'cheap', '--to', 'far', '--dry-run')
    assert (found['left'], len(found['images'])) == (0, 3)
    assert scene.files('cheap') == sorted(moving)
    # What is damaged stays where it is, and the others go.
    path = scene.path('cheap') / moving[1]
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b'!')
    code, out, _ = scene.store('evacuate', 'cheap', '--to', 'far')
    assert code == 1 and 'is damaged' in out
    assert scene.files('cheap') == [moving[1]]
    path.write_bytes(good)
    assert scene.json('evacuate', 'cheap', '--to', 'far')['left'] == 0
    assert scene.files('cheap') == [] and scene.files('far') == sorted(moving)
    assert scene.json('evacuate', 'cheap')['images'] == []
    for image_id in moving[:2]:
        assert scene.show(image_id)['stores'] == 'far'
        assert scene.download(image_id, 'far') == DATA
    assert scene.show(moving[2])['status'] == 'deactivated'
    # What projects use is counted as it is.
    assert scene.run('quota', 'recount')[0] == 0


def test_a_copy_that_is_not_good_does_not_take_the_place_of_one_that_is(scene, image):
    assert scene.store('copy', image, '--to', 'far')[0] == 0
    (scene.far / image).write_bytes(DATA[::-1])
    code, out, _ = scene.store('evacuate', 'cheap', '--to', 'far')
    assert code == 1 and 'the copy in store far is not good: The sha512 is another one' in out
    assert (scene.path('cheap') / image).read_bytes() == DATA


@pytest.mark.parametrize(
    ('command', 'said'),
    [
        (('fast',), 'is the default one'),
        (('web',), 'is read-only'),
        (('cheap', '--to', 'web'), 'Store web takes no data'),
        (('cheap', '--to', 'cheap'), 'cannot be moved to itself'),
        (('nosuch',), 'There is no store nosuch'),
        (('cheap', '--to', 'nosuch'), 'There is no store nosuch'),
    ],
)
def test_what_cannot_be_evacuated(scene, command, said):
    code, _, err = scene.store('evacuate', *command)
    assert code == 1 and said in err


def test_the_only_store_has_nowhere_to_go(make_app, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(logs, 'setup', lambda conf: None)
    stores = (
        'enabled_backends = one:file\n[glance_store]\ndefault_backend = one\n'
        '[one]\nfilesystem_store_datadir = {directory}/one\n'
    )
    scene = Scene(make_app(stores=stores), tmp_path, capsys)
    code, _, err = scene.store('evacuate', 'one')
    assert code == 1 and 'is the only one' in err


# --- what it looks like


def test_a_document_is_all_that_is_on_standard_output(scene):
    """As a process: what is logged goes elsewhere."""
    scene.configure('cheap:file', 'cheap:faulty')
    scene.configure('[cheap]\n', '[cheap]\nfault = before start 1- fail StoreUnavailable\n')
    done = subprocess.run(
        [sys.executable, '-m', 'glance_lite.cmd.manage', '--config-file', scene.file,
         'store', 'usage', '--format', 'json'],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)['images'] == 0
    assert 'Store cheap is left alone' in done.stderr


def test_at_a_terminal_there_is_a_bar(scene, image, monkeypatch):
    monkeypatch.setattr(sys.stderr.__class__, 'isatty', lambda self: True, raising=False)
    code, out, err = scene.store('verify', image)
    assert code == 0
    assert f'[{"#" * 40}] {len(DATA)}/{len(DATA)} bytes' in err
    assert '[' not in out


# --- audit, quarantine


def damage(scene, store, image_id):
    file = scene.path(store) / image_id
    file.write_bytes(b'x' + file.read_bytes()[1:])


def test_an_audit_finds_and_repairs(scene, image):
    """Told as lines and as a document; a copy in quarantine is neither served nor shown."""
    whole = scene.image('fast')
    assert scene.store('audit', '--rate', '0')[:2] == (
        0, '2 copies looked at, 0 could not be; 0 faults\n',
    )  # fmt: skip
    assert scene.store('copy', image, '--to', 'fast')[0] == 0
    damage(scene, 'fast', image)
    code, out, _ = scene.store('audit', 'fast')
    first, last = out.splitlines()
    assert code == 1 and last == '2 copies looked at, 0 could not be; 1 faults'
    assert first.startswith(f'damaged     {image}  store fast  file://')
    assert first.endswith('The sha512 is another one; in quarantine, another copy is served')
    assert scene.show(image)['stores'] == 'cheap'
    assert scene.download(image, 'fast') == DATA
    (found,) = scene.json('quarantine', 'list')['copies']
    assert (found['image'], found['store'], found['fault'], found['served']) == (
        image, 'fast', 'damaged', False,
    )  # fmt: skip
    assert scene.store('quarantine', 'release', str(found['location']))[0] == 0
    assert scene.store('quarantine', 'release', str(found['location']))[0] == 1
    assert scene.show(image)['stores'] == 'cheap,fast'
    found = scene.json('audit', '--repair', code=1)
    (fault,) = found['faults']
    assert (fault['fault'], fault['done']) == ('damaged', 'repaired from another copy')
    assert (found['copies'], found['repaired'], found['damaged']) == (4, 1, 1)
    assert scene.json('audit')['faults'] == []
    assert sorted(scene.show(image)['stores'].split(',')) == ['cheap', 'fast']
    for store in ('fast', 'cheap'):
        assert scene.download(image, store) == DATA
    assert scene.download(whole, 'fast') == DATA
    assert scene.store('audit', 'nosuch')[0] == 1


def test_duties_are_shown_and_done(scene):
    code, out, _ = scene.run('maintenance', 'status')
    assert code == 0 and 'scrub' in out and 'never ended' in out
    assert scene.run('maintenance', 'run', 'audit', '--once')[:2] == (0, 'audit: nothing to do\n')
    image_id = scene.image()
    code, out, _ = scene.run('maintenance', 'run', 'audit', '--once', '--json')
    (run,) = json.loads(out)['runs']
    assert run['result'] == {'copies': 1, 'bytes': len(DATA)}
    found = json.loads(scene.run('maintenance', 'status', '--json')[1])
    states = {one['name']: one for one in found['duties']}
    assert states['audit']['result'] == run['result'] and not states['audit']['on']
    assert states['expire_tasks']['on'] and not states['scrub']['on']
    code, _, err = scene.run('maintenance', 'run', 'nosuch', '--once')
    assert code == 1 and 'There is no duty nosuch; there are audit, expire_tasks, ' in err
    code, _, err = scene.run('maintenance', 'restore', image_id)
    assert code == 1 and 'is active, and not pending_delete' in err


def test_a_delete_is_taken_back(make_app, far, capsys, monkeypatch):
    monkeypatch.setattr(logs, 'setup', lambda conf: None)
    app = make_app(default='delayed_delete = true', stores=STORES.replace('FAR', str(far)))
    scene = Scene(app, far, capsys)
    image = scene.image('fast')
    assert app.request('DELETE', f'/v2/images/{image}').status == 204
    assert app.get(f'/v2/images/{image}').status == 404
    assert scene.run('maintenance', 'restore', image)[:2] == (0, f'{image} is active again\n')
    assert scene.download(image, 'fast') == DATA


# --- in the background


def test_images_are_placed_in_the_background(scene, image):
    """Noted by three commands, and done by the duty."""
    second, third = scene.image('cheap'), scene.image('fast')
    said = scene.store('place', image, '--in', 'far', '--not-in', 'cheap')
    assert said == (0, f'{image} is to be in far, is not to be in cheap\n', '')
    assert scene.store('copy', second, '--to', 'far', '--in-background')[0] == 0
    found = {one['image']: one['stores'] for one in scene.json('placements')['images']}
    assert found == {image: {'far': True, 'cheap': False}, second: {'far': True}}
    assert scene.show(image)['stores'] == 'cheap'
    code, out, _ = scene.run('maintenance', 'run', 'place', '--once')
    assert code == 0 and 'copied 2' in out and 'removed 1' in out
    assert scene.show(image)['stores'] == 'far'
    assert sorted(scene.show(second)['stores'].split(',')) == ['cheap', 'far']
    assert scene.json('placements')['images'] == []
    assert scene.json('evacuate', 'cheap', '--to', 'far', '--in-background')['noted'] == 1
    assert scene.run('maintenance', 'run', 'place', '--once')[0] == 0
    assert scene.files('cheap') == [] and scene.show(second)['stores'] == 'far'
    assert scene.show(third)['stores'] == 'fast'
    for image_id in (image, second):
        assert scene.download(image_id, 'far') == DATA
    for refused in (['--in', 'web'], ['--in', 'nosuch'], [], ['--in', 'far', '--not-in', 'far']):
        assert scene.store('place', image, *refused)[0] == 1
