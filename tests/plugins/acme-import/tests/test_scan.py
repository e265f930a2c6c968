# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from acme_import.scan import PIECE, Scan, read_signatures

from glance_lite import conf as configuration
from glance_lite.errors import ConfigurationError, UnsupportedMedia
from glance_lite.imports.values import Outcome
from glance_lite.testing.imports import ImportPluginConformance, StepWork, make_job

BAD = b'an evil sequence of bytes'
SIGNATURES = f'evil {BAD.hex()}\n'


@pytest.fixture
def scan(tmp_path):
    def scan(data, exempt='', roles=('member',), signatures=SIGNATURES):
        (tmp_path / 'signatures').write_text(signatures)
        text = f'[acme_scan]\nsignatures = {tmp_path}/signatures\nexempt_roles = {exempt}\n'
        (tmp_path / 'glance-api.conf').write_text(text)
        arguments = ['--config-file', str(tmp_path / 'glance-api.conf')]
        conf = configuration.parse(configuration.new(), arguments)
        for group, options in Scan.opts.items():
            conf.register_opts(options, group=group)
        (tmp_path / 'staged').write_bytes(data)
        step = StepWork(tmp_path / 'staged')
        return Scan('acme_scan', conf).apply(make_job(roles=roles), step)

    return scan


class TestWithoutSignatures(ImportPluginConformance):
    plugin = Scan


class TestWithSignatures(ImportPluginConformance):
    plugin = Scan
    data = bytes(3 * PIECE)

    @pytest.fixture(autouse=True)
    def signatures(self, tmp_path):
        (tmp_path / 'signatures').write_text(SIGNATURES)
        self.configuration = f'[acme_scan]\nsignatures = {tmp_path}/signatures\n'


@pytest.mark.parametrize('at', [0, 1, PIECE - 10, PIECE, 2 * PIECE - 1, 3 * PIECE - len(BAD)])
def test_it_is_found_wherever_it_is(scan, at):
    data = bytes(at) + BAD
    with pytest.raises(UnsupportedMedia, match='has evil in it'):
        scan(data.ljust(3 * PIECE, b'\0'))


def test_nothing_is_found(scan):
    assert scan(bytes(PIECE) + BAD[:-1]) == Outcome(properties={'acme_scanned': 'clean'})
    assert scan(b'', signatures='') == Outcome()


def test_who_is_exempt(scan):
    found = scan(BAD, exempt='tester', roles=('member', 'tester'))
    assert found.properties == {'acme_scanned': 'found', 'acme_found': 'evil'}
    with pytest.raises(UnsupportedMedia):
        scan(BAD, exempt='tester')


@pytest.mark.parametrize('text', ['evil', 'evil xx', 'evil 0', 'very evil 00'])
def test_a_file_that_is_wrong_is_one_sentence(tmp_path, text):
    (tmp_path / 'signatures').write_text(f'good 00ff\n{text}\n')
    with pytest.raises(ConfigurationError, match='line 2'):
        read_signatures(str(tmp_path / 'signatures'))
    with pytest.raises(ConfigurationError, match='No such file'):
        read_signatures(str(tmp_path / 'nowhere'))
