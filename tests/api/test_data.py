# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
import re
import time

import pytest

from tests.api.harness import ADMIN, BETA, OCTETS, App

BARE = {'disk_format': 'raw', 'container_format': 'bare'}
DATA = bytes(range(256)) * 10_000


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    """An image with data, for tests that only read."""
    app = App(tmp_path_factory.mktemp('served'))
    app.image = app.active(DATA)
    app.file = f'/v2/images/{app.image["id"]}/file'
    yield app
    app.close()


def test_upload_and_download(served):
    image = served.image
    assert image['status'] == 'active' and image['stores'] == 'fast'
    assert image['size'] == image['virtual_size'] == len(DATA)
    assert image['checksum'] == hashlib.md5(DATA).hexdigest()
    assert image['os_hash_value'] == hashlib.sha512(DATA).hexdigest()
    answer = served.get(served.file)
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers['content-type'] == OCTETS
    assert answer.headers['content-md5'] == image['checksum']
    assert answer.headers['content-length'] == str(len(DATA))
    assert answer.headers['accept-ranges'] == 'bytes'
    assert answer.headers['etag'] == f'"{image["os_hash_value"]}"'


def test_a_site_may_do_without_md5(tmp_path):
    app = App(tmp_path, default='compute_checksum = false\nhashing_algorithm = sha256\n')
    image = app.active(DATA)
    assert image['checksum'] is None
    assert image['os_hash_algo'] == 'sha256'
    assert image['os_hash_value'] == hashlib.sha256(DATA).hexdigest()
    answer = app.get(f'/v2/images/{image["id"]}/file')
    assert answer.body == DATA and 'content-md5' not in answer.headers
    app.close()


def test_head_of_the_data(served):
    head, get = served.request('HEAD', served.file), served.get(served.file)
    del head.headers['x-openstack-request-id'], get.headers['x-openstack-request-id']
    assert (head.status, head.headers, head.body) == (200, get.headers, b'')
    part = served.request('HEAD', served.file, headers={'Range': 'bytes=0-9'})
    assert (part.status, part.headers['content-length']) == (206, '10')


LAST = len(DATA) - 1


@pytest.mark.parametrize('given, first, last', [
    ('bytes=0-0', 0, 0),
    ('bytes=5-9', 5, 9),
    ('bytes=5-', 5, LAST),
    ('bytes=-5', LAST - 4, LAST),
    ('bytes=-99999999', 0, LAST),
    (f'bytes={LAST}-99999999999', LAST, LAST),
    ('bytes = 1 - 2', 1, 2),
])  # fmt: skip
def test_ranges(served, given, first, last):
    answer = served.get(served.file, headers={'Range': given})
    assert (answer.status, answer.body) == (206, DATA[first : last + 1])
    assert answer.headers['content-range'] == f'bytes {first}-{last}/{len(DATA)}'
    assert 'content-md5' not in answer.headers


def test_the_old_way_to_ask_for_a_range(served):
    for total in (str(len(DATA)), '*'):
        answer = served.get(served.file, headers={'Content-Range': f'bytes 5-9/{total}'})
        assert (answer.status, answer.body) == (206, DATA[5:10])
        assert answer.headers['content-length'] == '5'


@pytest.mark.parametrize('header, given, status', [
    ('Range', f'bytes={LAST + 1}-', 416),
    ('Range', 'bytes=99999999999999999999-', 416),
    ('Range', 'bytes=-0', 416),
    ('Range', 'bytes=0-1,3-4', 400),
    ('Range', 'bytes=--5', 416),
    ('Range', 'bytes=-', 416),
    ('Range', 'bytes=', 416),
    ('Range', 'bytes=5-1', 416),
    ('Range', 'items=0-1', 416),
    ('Range', 'bytes=a-b', 416),
    ('Range', 'bytes=' + '9' * 1000 + '-', 416),
    ('Content-Range', 'bytes */*', 416),
    ('Content-Range', 'bytes 5-1/*', 416),
    ('Content-Range', f'bytes {LAST + 1}-{LAST + 2}/*', 416),
])  # fmt: skip
def test_ranges_that_make_no_sense(served, header, given, status):
    answer = served.get(served.file, headers={header: given})
    assert answer.status == status
    if status == 416 and str(LAST + 1) in given:
        assert answer.headers['content-range'] == f'bytes */{len(DATA)}'


def test_if_range(served):
    tag = served.get(served.file).headers['etag']
    for validator, status in ((tag, 206), ('"other"', 200), ('W/' + tag, 200)):
        headers = {'Range': 'bytes=0-9', 'If-Range': validator}
        assert served.get(served.file, headers=headers).status == status


def test_prefer(served):
    assert served.get(served.file + '?prefer=cheap,fast', **ADMIN).body == DATA
    assert served.get(served.file + '?prefer=nosuch', **ADMIN).status == 400
    assert served.get(served.file + '?prefer=', **ADMIN).status == 400


def test_an_image_without_data(app):
    path = f'/v2/images/{app.create(**BARE)["id"]}/file'
    assert (app.get(path).status, app.get(path).body) == (204, b'')
    for header, value in (('Range', 'bytes=0-1'), ('Content-Range', 'bytes 0-1/*')):
        assert app.get(path, headers={header: value}).status == 204
    assert app.request('HEAD', path).status == 204


def test_an_empty_image(app):
    image = app.active(b'')
    assert (image['size'], image['status']) == (0, 'active')
    answer = app.get(f'/v2/images/{image["id"]}/file')
    assert (answer.status, answer.body) == (200, b'')
    part = app.get(f'/v2/images/{image["id"]}/file', headers={'Range': 'bytes=0-'})
    assert part.status == 416


def test_a_chunked_body(app):
    image = app.create(**BARE)
    environ = app.environ('PUT', f'/v2/images/{image["id"]}/file', DATA, kind=OCTETS)
    del environ['CONTENT_LENGTH']
    environ['HTTP_TRANSFER_ENCODING'] = 'chunked'
    assert app.send(environ).status == 204
    assert app.get(f'/v2/images/{image["id"]}/file').body == DATA


def test_data_goes_where_it_is_sent(app, tmp_path):
    image = app.create(**BARE)
    assert app.put(image['id'], b'data', headers={'X-Image-Meta-Store': 'cheap'}).status == 204
    assert app.get(f'/v2/images/{image["id"]}').json['stores'] == 'cheap'
    assert os.listdir(tmp_path / 'cheap') == [image['id']]
    assert os.listdir(tmp_path / 'fast') == []


def still_queued(app, image, tmp_path):
    shown = app.get(f'/v2/images/{image["id"]}').json
    for name in ('status', 'size', 'virtual_size', 'checksum', 'os_hash_value'):
        assert shown[name] == image[name], name
    assert 'stores' not in shown
    left = [*os.listdir(tmp_path / 'fast'), *os.listdir(tmp_path / 'cheap')]
    assert left == []
    assert app.get(f'/v2/images/{image["id"]}/file').status == 204
    assert app.put(image['id'], b'data').status == 204


@pytest.mark.parametrize('kwargs, status', [
    ({'kind': 'text/plain'}, 415),
    ({'kind': None}, 415),
    ({'headers': {'X-Image-Meta-Store': 'nosuch'}}, 400),
    ({'headers': {'X-Openstack-Image-Size': '5'}}, 400),
    ({'headers': {'X-Openstack-Image-Size': 'x'}}, 400),
    ({'headers': {'X-Openstack-Image-Size': '-1'}}, 400),
    ({'headers': {'Content-Length': '3'}}, 204),
    ({'headers': {'Content-Length': '-5'}}, 400),
    ({'headers': {'Content-Length': 'x'}}, 400),
    ({'headers': {'Content-Length': '99'}}, 400),
])  # fmt: skip
def test_uploads_that_are_refused(app, tmp_path, kwargs, status):
    image = app.create(**BARE)
    assert app.put(image['id'], b'data', **kwargs).status == status
    if status != 204:
        still_queued(app, image, tmp_path)


def test_media_types_have_no_case(app):
    image = app.create(**BARE)
    assert app.put(image['id'], b'data', kind='Application/OCTET-stream').status == 204


def test_a_declared_size_that_is_not_kept(app, tmp_path):
    image = app.create(**BARE)
    environ = app.environ('PUT', f'/v2/images/{image["id"]}/file', b'data', kind=OCTETS)
    del environ['CONTENT_LENGTH']
    environ['HTTP_TRANSFER_ENCODING'] = 'chunked'
    environ['HTTP_X_OPENSTACK_IMAGE_SIZE'] = '5'
    assert app.send(environ).status == 400
    still_queued(app, image, tmp_path)


def test_a_client_that_goes_away(app, tmp_path):
    class Broken:
        def read(self, size):
            raise OSError('connection reset')

    image = app.create(**BARE)
    environ = app.environ('PUT', f'/v2/images/{image["id"]}/file', b'data', kind=OCTETS)
    environ['wsgi.input'] = Broken()
    assert app.send(environ).status == 400
    still_queued(app, image, tmp_path)


def test_mismatch_leaves_nothing(app, tmp_path):
    """Glance keeps data, location and checksum and cannot take a second upload (A-1)."""
    image = app.create(disk_format='raw', container_format='bare')
    app.patch(image['id'], {'op': 'replace', 'path': '/disk_format', 'value': 'qcow2'})
    image = app.get(f'/v2/images/{image["id"]}').json
    assert app.put(image['id'], b'not a disk at all').status == 415
    app.patch(image['id'], {'op': 'replace', 'path': '/disk_format', 'value': 'raw'})
    still_queued(app, image, tmp_path)


def test_a_stale_partial_file_blocks_nothing(app, tmp_path):
    """Glance answers 500 and the image can never be uploaded (A-2)."""
    image = app.create(**BARE)
    (tmp_path / 'fast' / image['id']).write_bytes(b'half')
    assert app.put(image['id'], b'data').status == 204
    assert app.get(f'/v2/images/{image["id"]}/file').body == b'data'


def test_size_cap(make_app, tmp_path):
    app = make_app(default='image_size_cap = 4')
    image = app.create(**BARE)
    assert app.put(image['id'], b'12345').status == 413
    still_queued(app, image, tmp_path)


def test_storage_quota(make_app, tmp_path):
    app = make_app(default='user_storage_quota = 8')
    first = app.active(b'12345')
    image = app.create(**BARE)
    assert app.put(image['id'], b'1234').status == 413
    still = app.get(f'/v2/images/{image["id"]}').json
    assert still['status'] == 'queued'
    assert app.put(app.create(**BARE, **BETA)['id'], b'12345678', **BETA).status == 204
    app.request('DELETE', f'/v2/images/{first["id"]}')
    assert app.put(image['id'], b'1234').status == 204


def test_a_second_upload_is_refused(app):
    image = app.active()
    assert app.put(image['id'], b'other').status == 409
    assert app.get(f'/v2/images/{image["id"]}/file').body == b'data'


def test_data_needs_formats(app, tmp_path):
    image = app.create()
    assert app.put(image['id'], b'data').status == 400
    still = app.get(f'/v2/images/{image["id"]}').json
    assert still['status'] == 'queued' and os.listdir(tmp_path / 'fast') == []


def test_deleted_during_the_upload(app, tmp_path):
    image = app.create(**BARE)

    class Deleting:
        done = False

        def read(self, size):
            if self.done:
                return b''
            self.done = True
            assert app.request('DELETE', f'/v2/images/{image["id"]}').status == 204
            return b'data'

    environ = app.environ('PUT', f'/v2/images/{image["id"]}/file', b'data', kind=OCTETS)
    environ['wsgi.input'] = Deleting()
    assert app.send(environ).status == 410
    assert os.listdir(tmp_path / 'fast') == []


# --- stores


def test_stores_are_listed(app, tmp_path):
    listed = app.get('/v2/info/stores').json
    assert listed == {
        'stores': [
            {'id': 'fast', 'default': 'true'},
            {'id': 'cheap', 'description': 'slow and cheap'},
        ]
    }
    assert app.get('/v2/info/stores/detail').status == 403
    detail = app.get('/v2/info/stores/detail', **ADMIN).json['stores'][0]
    assert (detail['type'], detail['weight']) == ('file', 0)
    assert detail['properties']['data_dir'] == str(tmp_path / 'fast')
    assert detail['health'] == {'state': 'closed'}


def test_a_store_that_fails_again_and_again_is_left_alone(app, tmp_path):
    (tmp_path / 'cheap').rename(tmp_path / 'away')
    headers = {'X-Image-Meta-Store': 'cheap'}
    image = app.create(**BARE)
    answers = [app.put(image['id'], b'data', headers=headers) for _ in range(6)]
    assert [answer.status for answer in answers] == [503] * 6
    assert 'retry-after' not in answers[0].headers
    assert 1 <= int(answers[-1].headers['retry-after']) <= 60
    assert b'Store cheap does not serve now' in answers[-1].body
    seen = app.get(f'/v2/images/{image["id"]}').json
    assert seen['status'] == 'queued'
    told = {
        one['id']: one['health']
        for one in app.get('/v2/info/stores/detail', **ADMIN).json['stores']
    }
    assert told['fast'] == {'state': 'closed'}
    assert told['cheap']['state'] == 'open'
    assert 'store cheap' in told['cheap']['problem'].lower()
    assert str(tmp_path) not in str(told['cheap'])
    assert re.fullmatch(r'20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ', told['cheap']['since'])
    assert told['cheap']['retry_after'] >= 0
    # Whoever is no administrator is not told, and the other store takes data.
    assert 'health' not in app.get('/v2/info/stores').json['stores'][1]
    assert app.put(image['id'], b'data').status == 204
    (tmp_path / 'away').rename(tmp_path / 'cheap')
    other, end = app.create(**BARE), time.monotonic() + 30
    while app.put(other['id'], b'data', headers=headers).status != 204:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert app.get('/v2/info/stores/detail', **ADMIN).json['stores'][1]['health'] == {
        'state': 'closed'
    }


def test_delete_from_one_store(app):
    image = app.active()
    path = f'/v2/stores/fast/{image["id"]}'
    assert app.request('DELETE', path).status == 403
    assert app.request('DELETE', path, **ADMIN).status == 403  # the last copy
    assert app.request('DELETE', f'/v2/stores/cheap/{image["id"]}', **ADMIN).status == 403
    assert app.request('DELETE', f'/v2/stores/nosuch/{image["id"]}', **ADMIN).status == 409
    assert app.request('DELETE', '/v2/stores/fast/nosuch', **ADMIN).status == 404
    queued = app.create()
    assert app.request('DELETE', f'/v2/stores/fast/{queued["id"]}', **ADMIN).status == 409


def test_data_that_vanished_is_an_error_of_the_service(app, tmp_path):
    image = app.active()
    (tmp_path / 'fast' / image['id']).unlink()
    answer = app.get(f'/v2/images/{image["id"]}/file')
    assert answer.status in (404, 503)
    assert str(tmp_path).encode() not in answer.body
    # It can still be deleted.
    assert app.request('DELETE', f'/v2/images/{image["id"]}').status == 204
