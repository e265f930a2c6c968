# SPDX-License-Identifier: Apache-2.0
"""Finding plug-ins among real installed distributions, each thing that can be wrong one sentence.

A distribution is a directory ``NAME-1.0.dist-info`` with an ``entry_points.txt`` on the path of
a process of its own, which is all that an installed package is to Python.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

from glance_lite import plugins
from glance_lite.conf.controller import LAYERS
from glance_lite.errors import PluginError

ROOT = pathlib.Path(__file__).resolve().parents[2]

GOOD = """
from glance_lite.errors import Forbidden
from glance_lite.layer import Layer

class Freeze(Layer):
    outside_of = ('db',)

    def delete_image(self, ctx, image_id):
        raise Forbidden('frozen')

class OtherFreeze(Freeze):
    pass

class WrongSignature(Layer):
    def delete_image(self, ctx, id, force=False):
        self.next.delete_image(ctx, id)

class OfAnotherContract(Layer):
    requires_api = 99

class NoLayer:
    def __init__(self, parts):
        pass

def function(parts):
    return None
"""

LOAD = """
from glance_lite import plugins
from glance_lite.errors import PluginError
try:
    found = plugins.load('glance_lite.layers', {name!r}, 'FILE: [controller] layers', {needs!r})
    print('found', found.__module__, found.__qualname__)
except PluginError as ex:
    print('refused', ex)
"""

START = """
from glance_lite import conf as configuration
from glance_lite.errors import ConfigurationError
from glance_lite.service import Service
conf = configuration.parse(configuration.new(), ['--config-file', {file!r}])
try:
    chain = Service(conf).chain
    print('linked', *chain.acting['delete_image'])
except ConfigurationError as ex:
    print('refused', ex)
"""


class Site:
    """A directory on the path of a process, with modules and distributions."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.module('acme', GOOD)

    def module(self, name: str, text: str) -> None:
        (self.directory / f'{name}.py').write_text(text)

    def distribution(self, name: str, *points: str, group: str = plugins.LAYERS) -> None:
        info = self.directory / f'{name}-1.0.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n')
        (info / 'entry_points.txt').write_text('\n'.join([f'[{group}]', *points]) + '\n')

    def run(self, code: str) -> str:
        """The one line a program prints; stevedore's cache of entry points is its own."""
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', textwrap.dedent(code)],
            capture_output=True,
            text=True,
            cwd=self.directory,
            env={
                **os.environ,
                'PYTHONPATH': f'{self.directory}{os.pathsep}{ROOT}',
                'XDG_CACHE_HOME': str(self.directory / 'cache'),
            },
        )
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.splitlines()
        return line

    def load(self, name: str, needs: str = '') -> str:
        return self.run(LOAD.format(name=name, needs=needs))

    def start(self, *layers: str) -> str:
        file = self.directory / 'glance-api.conf'
        file.write_text(
            '[DEFAULT]\nenabled_backends = ram:memory\n[glance_store]\ndefault_backend = ram\n'
            f'[ram]\n[database]\nconnection = sqlite:///{self.directory}/x.sqlite\n'
            f'[controller]\nlayers = {", ".join(layers)}\n'
        )
        return self.run(START.format(file=str(file)))


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


# --- loading


def test_ours_are_installed():
    assert set(LAYERS) <= set(plugins.names(plugins.LAYERS))
    assert {'file', 'memory'} <= set(plugins.names(plugins.STORES))


def test_a_namespace_without_plug_ins_is_empty():
    assert plugins.names('glance_lite.nothing_of_the_kind') == ()
    with pytest.raises(PluginError, match=r'known: none'):
        plugins.load('glance_lite.nothing_of_the_kind', 'x', '[DEFAULT] x')


def test_an_installed_one_is_found(site):
    site.distribution('acme', 'freeze = acme:Freeze')
    assert site.load('freeze') == 'found acme Freeze'


def test_an_unknown_name_is_told_with_those_that_are_known(site):
    site.distribution('acme', 'freeze = acme:Freeze')
    line = site.load('frieze')
    assert line.startswith('refused FILE: [controller] layers: there is no plug-in frieze')
    assert 'auth, db, faults, freeze, location' in line


@pytest.mark.parametrize(
    ('point', 'reason'),
    [
        ('freeze = nowhere:Freeze', 'ModuleNotFoundError'),
        ('freeze = acme:Frieze', 'AttributeError'),
        ('freeze = broken:Freeze', 'ZeroDivisionError: division by zero'),
        ('freeze = unwritten:Freeze', 'SyntaxError'),
    ],
    ids=['module', 'attribute', 'raises', 'syntax'],
)
def test_a_broken_one_stops_the_start(site, point, reason):
    """A layer that is left out in silence would be an open door."""
    site.module('broken', '1 / 0\n')
    site.module('unwritten', 'class Freeze(\n')
    site.distribution('acme', point)
    line = site.load('freeze')
    place = point.partition(' = ')[2]
    assert line.startswith(
        f'refused FILE: [controller] layers: freeze ({place}) cannot be loaded: '
    )
    assert reason in line


def test_a_broken_one_that_nobody_asks_for_is_nobodys_trouble(site):
    site.module('broken', '1 / 0\n')
    site.distribution('acme', 'bad = broken:Freeze', 'freeze = acme:Freeze')
    assert site.load('freeze') == 'found acme Freeze'


def test_what_it_lacks_is_answered_with_the_install_line(site):
    site.module('needy', 'import no_such_library\n')
    site.distribution('acme', 'freeze = needy:Freeze')
    line = site.load('freeze', 'pip install acme[ice]')
    assert line.endswith("'no_such_library'; install it with: pip install acme[ice]")


def test_another_kind_of_failure_is_not_answered_with_the_install_line(site):
    site.module('broken', '1 / 0\n')
    site.distribution('acme', 'freeze = broken:Freeze')
    assert 'install' not in site.load('freeze', 'pip install acme[ice]')


def test_a_name_registered_by_two_distributions_is_refused(site):
    site.distribution('acme', 'freeze = acme:Freeze')
    site.distribution('zenith', 'freeze = acme:OtherFreeze')
    assert site.load('freeze') == (
        'refused FILE: [controller] layers: freeze is registered twice in glance_lite.layers, '
        'by acme:Freeze and acme:OtherFreeze'
    )


def test_nobody_takes_the_place_of_one_of_ours(site):
    site.distribution('acme', 'policy = acme:Freeze')
    line = site.load('policy')
    assert 'policy is registered twice' in line
    assert 'acme:Freeze and glance_lite.layers.policy:Policy' in line


def test_a_broken_twin_is_a_twin(site):
    site.distribution('acme', 'policy = nowhere:Policy')
    assert 'policy is registered twice' in site.load('policy')


def test_the_same_thing_shown_twice_is_no_clash(site):
    """As an editable install beside a wheel shows it."""
    site.distribution('acme', 'freeze = acme:Freeze')
    site.distribution('acme_editable', 'freeze = acme:Freeze')
    assert site.load('freeze') == 'found acme Freeze'


def test_the_same_name_in_another_namespace_is_something_else(site):
    site.distribution('acme', 'freeze = acme:Freeze')
    site.distribution('zenith', 'freeze = acme:OtherFreeze', group=plugins.STORES)
    assert site.load('freeze') == 'found acme Freeze'


# --- from the configuration to the chain


def test_a_layer_of_a_vendor_joins_the_chain(site):
    site.distribution('acme', 'freeze = acme:Freeze')
    line = site.start('auth', 'policy', 'freeze', 'quota', 'location', 'db')
    assert line == 'linked auth policy freeze location'


@pytest.mark.parametrize(
    ('layers', 'said'),
    [
        (('auth', 'frieze', 'location', 'db'), 'there is no plug-in frieze'),
        (('auth', 'auth', 'location', 'db'), 'auth is in the list twice'),
        (('policy', 'auth', 'location', 'db'), 'auth must stand before policy'),
        (('auth', 'location', 'policy', 'db'), 'policy must stand before location'),
        (('location', 'db', 'freeze'), 'freeze must stand before db'),
        (('auth', 'location'), 'location and db must be among them'),
        (('auth', 'db'), 'location and db must be among them'),
        (('wrong', 'location', 'db'), 'wrong overrides delete_image(ctx, id, force), but the'),
        (('old', 'location', 'db'), 'old was written for version 99'),
        (('none', 'location', 'db'), 'none is not a layer'),
        (('function', 'location', 'db'), 'function is not a layer'),
        (('bad', 'location', 'db'), 'bad (nowhere:Layer) cannot be loaded'),
        (('twin', 'location', 'db'), 'twin is registered twice'),
    ],
    ids=lambda value: '-'.join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_list_is_one_sentence(site, layers, said):
    site.distribution(
        'acme',
        'freeze = acme:Freeze',
        'wrong = acme:WrongSignature',
        'old = acme:OfAnotherContract',
        'none = acme:NoLayer',
        'function = acme:function',
        'bad = nowhere:Layer',
        'twin = acme:Freeze',
    )
    site.distribution('zenith', 'twin = acme:OtherFreeze')
    line = site.start(*layers)
    assert line.startswith('refused ') and said in line
    assert '[controller] layers' in line


@pytest.mark.parametrize('layers', [('policy', 'auth', 'location', 'db'), ('auth', 'db')])
def test_the_file_with_a_wrong_list_is_named(site, layers):
    place = f'{site.directory}/glance-api.conf: [controller] layers: '
    assert site.start(*layers).startswith(f'refused {place}')


# --- certificate managers

SAFE = """
from glance_lite.certificates import CertificateManager
from glance_lite.errors import Invalid

class Safe(CertificateManager):
    def get(self, ctx, certificate_id):
        raise Invalid(f'the safe was asked for {certificate_id}')

class Tin:
    def __init__(self, conf):
        pass
"""

ASK = """
from glance_lite import conf as configuration
from glance_lite.errors import GlanceLiteError
from glance_lite.signatures import Signatures, SIGNED
from glance_lite.testing.layers import make_image
conf = configuration.parse(configuration.new(), ['--config-file', {file!r}])
properties = dict.fromkeys(SIGNED, 'QUJD')
properties |= dict(img_signature_hash_method='SHA-256', img_signature_key_type='DSA')
try:
    Signatures(conf).verifier(None, make_image('x').replace(properties=properties))
except GlanceLiteError as ex:
    print(ex)
"""


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('safe', 'the safe was asked for QUJD'),
        ('tin', '[image_signatures] certificate_manager: tin is not a certificate manager'),
        ('gone', '[image_signatures] certificate_manager: gone (nowhere:Gone) cannot be loaded'),
    ],
)
def test_a_certificate_manager_of_a_vendor(site, name, said):
    site.module('vendor', SAFE)
    points = ('safe = vendor:Safe', 'tin = vendor:Tin', 'gone = nowhere:Gone')
    site.distribution('vendor', *points, group=plugins.CERTIFICATE_MANAGERS)
    file = site.directory / 'glance-api.conf'
    file.write_text(f'[image_signatures]\ncertificate_manager = {name}\n')
    assert site.run(ASK.format(file=str(file))).startswith(said)
