# SPDX-License-Identifier: Apache-2.0
"""What `pipeline show` writes of a configuration, in each format."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from glance_lite import conf as configuration
from glance_lite import drawing, pipeline
from glance_lite.operations import OPERATIONS
from glance_lite.service import Service
from tests.api.harness import PASTE

SVG = '{http://www.w3.org/2000/svg}'


@pytest.fixture
def make(tmp_path):
    """Describes a service, which is not started."""

    def make(more='', flavor='keystone', backends='fast:file,web:http', paste=PASTE):
        file = tmp_path / 'glance-api.conf'
        file.write_text(
            f'[DEFAULT]\nenabled_backends = {backends}\n[glance_store]\ndefault_backend = fast\n'
            f'[fast]\nfilesystem_store_datadir = {tmp_path}/fast\nweight = 5\n'
            f'[paste_deploy]\nflavor = {flavor}\nconfig_file = {paste}\n'
            f'[database]\nconnection = mysql://user:secret@nowhere.example/glance\n{more}'
        )
        conf = configuration.parse(configuration.new(), ['--config-file', str(file)])
        return pipeline.describe(Service(conf))

    return make


def test_what_is_served_where(make):
    found = make()
    filters = [
        'cors',
        'http_proxy_to_wsgi',
        'versionnegotiation',
        'osprofiler',
        'authtoken',
        'context',
    ]
    told = [(path.path, [one.name for one in path.filters], path.application.name)
            for path in found.paths]  # fmt: skip
    assert told == [
        ('/', filters, 'versions'),
        ('/v2', filters, 'api'),
        ('/healthcheck', [], 'healthcheck'),
    ]
    assert found.paths[0].filters[4].made_by == 'egg:glance-lite#authtoken'
    assert found.paths[1].application.made_by == 'egg:glance-lite#api'


def test_a_paste_file_of_glance(make, tmp_path):
    """It has a pipeline for each flavor in one section, and names that are replaced."""
    paste = tmp_path / 'paste.ini'
    paste.write_text(
        '[composite:glance-api-keystone]\npaste.composite_factory = glance.api:root_app_factory\n'
        '/: api\n/healthcheck: healthcheck\n'
        '[composite:api]\npaste.composite_factory = glance.api:pipeline_factory\n'
        'default = cors rootapp\nkeystone = cors context rootapp\n'
        '[composite:rootapp]\npaste.composite_factory = glance.api:root_app_factory\n'
        '/: versions\n/v2: v2\n'
        '[app:v2]\npaste.app_factory = glance.api.v2.router:API.factory\n'
        '[filter:context]\n'
        'paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory\n'
    )
    found = make(paste=paste)
    assert found.pipeline == ('cors', 'context', 'rootapp')
    (v2,) = [path for path in found.paths if path.path == '/v2']
    assert v2.application.made_by == 'glance_lite.api.app:api_factory'
    assert [one.name for one in v2.filters] == ['cors', 'context']
    assert v2.filters[1].made_by == 'glance_lite.middleware.context:keystone_context'
    # What the file does not have is shown, too: this is how one finds out.
    assert v2.filters[0].made_by == ''


def test_json(make):
    text = pipeline.as_json(make('[oslo_messaging_notifications]\ndriver = log\n'))
    found = json.loads(text)
    assert found['application'] == 'glance-api-keystone'
    acting = {layer['name']: layer['acts'] for layer in found['layers']}
    assert list(acting) == [
        'auth', 'property_protection', 'notifier', 'policy', 'quota', 'location', 'db',
    ]  # fmt: skip
    assert acting['notifier'] and not acting['property_protection']
    assert 'upload' in found['layers'][4]['operations']
    assert found['layers'][4]['made_by'] == 'glance_lite.layers.quota:Quota'
    operations = {one['name']: one for one in found['operations']}
    assert operations.keys() == OPERATIONS.keys()
    assert operations['upload'] == {
        'name': 'upload',
        'family': 'Data',
        'layers': ['auth', 'notifier', 'policy', 'quota', 'location'],
        'writes': True,
        'inner': False,
    }
    assert operations['claim_upload']['inner']
    fast, web = found['stores']
    assert (fast['weight'], fast['default'], fast['read_only']) == (5, True, False)
    assert fast['capabilities'] == ['write', 'sendfile', 'list', 'copy']
    assert web['made_by'] == 'store_drivers.http:HttpStore' and web['read_only']
    # Nothing that the file has as a value.
    assert 'secret' not in text and str(PASTE) not in text


def texts(root):
    return [''.join(element.itertext()) for element in root.iter(f'{SVG}text')]


def test_the_picture_has_everything(make):
    found = make()
    root = ElementTree.fromstring(drawing.as_svg(found).encode())
    shown = texts(root)
    for layer in found.acting:
        assert shown.count(layer.name) == 3  # in the chain, and over each half of the table
    assert any('property_protection, notifier' in text for text in shown)
    for name in (*OPERATIONS, 'authtoken', 'healthcheck', '/v2 api', 'fast', 'web'):
        assert shown.count(name) >= 1, name
    assert 'file, weight 5, default' in shown and 'can: write, sendfile, list, copy' in shown


def test_the_picture_shows_who_acts(make):
    found = make()
    root = ElementTree.fromstring(drawing.as_svg(found).encode())
    dots = {
        group.findtext(f'{SVG}title'): len(group.findall(f'{SVG}circle'))
        for group in root.findall(f'{SVG}g')
    }
    for one in found.operations:
        mark = ', between layers' if one.inner else ''
        assert dots[f'{one.name}: {" > ".join(one.layers)}{mark}'] == len(one.layers)


def test_the_picture_can_be_read_aloud(make):
    root = ElementTree.fromstring(drawing.as_svg(make()).encode())
    assert root.get('role') == 'img'
    told = {element.get('id'): element.text for element in root}
    assert all(told[name] for name in root.get('aria-labelledby').split())
    assert '/v2 is served by api through cors, http_proxy_to_wsgi' in told['desc']
    assert 'The layers are auth, policy, quota, location, db.' in told['desc']


def test_everything_is_within_the_picture(make):
    """However many stores there are, and however long their names."""
    names = [f'store-number-{number}-of-many' for number in range(20)]
    backends = ','.join(['fast:file', *(f'{name}:memory' for name in names)])
    root = ElementTree.fromstring(drawing.as_svg(make(backends=backends)).encode())
    _, _, width, height = map(float, root.get('viewBox').split())
    for box in root.iter(f'{SVG}rect'):
        if box.get('x') is not None:
            assert 0 <= float(box.get('x')) <= width - float(box.get('width'))
            assert 0 <= float(box.get('y')) <= height - float(box.get('height'))
    for group in root.findall(f'{SVG}g'):
        box, words = group.find(f'{SVG}rect'), group.findall(f'{SVG}text')
        for text in words if box is not None and len(group.findall(f'{SVG}circle')) == 0 else ():
            end = float(text.get('x')) + len(text.text) * 0.6 * float(text.get('font-size'))
            assert end <= float(box.get('x')) + float(box.get('width')), text.text


def test_names_cannot_break_the_picture(make, tmp_path):
    paste = tmp_path / 'paste.ini'
    name = '<script>&"\x07'
    text = PASTE.read_text().replace('pipeline = cors', f'pipeline = {name} cors')
    paste.write_text(text)
    root = ElementTree.fromstring(drawing.as_svg(make(paste=paste)).encode())
    assert '<script>&"?' in texts(root)
