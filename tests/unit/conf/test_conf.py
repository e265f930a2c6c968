# SPDX-License-Identifier: Apache-2.0
"""Configuration files as operators have them, and the sentence for what is wrong."""

from __future__ import annotations

import pytest

from glance_lite import conf
from glance_lite.errors import ConfigurationError


@pytest.fixture
def parsed(tmp_path):
    def parse(text, *arguments):
        path = tmp_path / 'glance-api.conf'
        path.write_text(text)
        made = conf.new()
        return conf.parse(made, ['--config-file', str(path), *arguments])

    parse.path = tmp_path / 'glance-api.conf'
    return parse


def test_defaults_are_glances(parsed):
    read = parsed('')
    assert (read.limit_param_default, read.api_limit_max) == (25, 1000)
    assert read.hashing_algorithm == 'sha512'
    assert read.image_size_cap == 1099511627776
    assert read.glance_store.stores == ['file', 'http']
    assert read.image_format.container_formats[0] == 'ami'
    assert read.oslo_policy.policy_file == 'policy.yaml'


def test_unknown_options_are_ignored(parsed):
    read = parsed('[DEFAULT]\nunheard_of = 1\n[nobody]\nknows = this\n')
    assert conf.removed(read) == []


def test_removed_options_are_told_once_each(parsed):
    read = parsed('[DEFAULT]\ndata_api = x\nenable_v1_api = true\n# owner_is_tenant = 1\n')
    told = conf.removed(read)
    assert len(told) == 2
    assert all(str(parsed.path) in sentence for sentence in told)
    assert 'data_api' in told[0] and 'enable_v1_api' in told[1]


@pytest.mark.parametrize(
    ('text', 'names'),
    [
        ('[DEFAULT]\nbind_port = 99999999\n', ['[DEFAULT] bind_port', '65535']),
        ('[DEFAULT]\nworkers = many\n', ['[DEFAULT] workers', 'many']),
        ('[DEFAULT]\nproperty_protection_rule_format = x\n', ['property_protection_rule_format']),
        ('[image_format]\nrequire_image_format_match = perhaps\n', ['[image_format]', 'perhaps']),
        ('[DEFAULT]\nenabled_backends = fast\n', ['[DEFAULT] enabled_backends']),
    ],
)
def test_a_bad_value_is_one_sentence_with_file_group_and_option(parsed, text, names):
    with pytest.raises(ConfigurationError) as caught:
        parsed(text)
    assert '\n' not in caught.value.message
    for name in [str(parsed.path), *names]:
        assert name in caught.value.message


@pytest.mark.parametrize('text', ['[DEFAULT\nx = 1\n', 'no section = 1\n', '[DEFAULT]\njunk\n'])
def test_a_file_that_is_no_configuration_is_one_sentence(parsed, text):
    with pytest.raises(ConfigurationError, match=r'glance-api\.conf') as caught:
        parsed(text)
    assert '\n' not in caught.value.message


def test_a_missing_file_or_directory_is_named():
    with pytest.raises(ConfigurationError, match='/no/such/file'):
        conf.parse(conf.new(), ['--config-file', '/no/such/file'])
    with pytest.raises(ConfigurationError, match='/no/such/dir'):
        conf.parse(conf.new(), ['--config-dir', '/no/such/dir'])


def test_the_directory_comes_from_the_environment(tmp_path, monkeypatch):
    (tmp_path / 'glance-api.conf').write_text('[DEFAULT]\nlimit_param_default = 7\n')
    (tmp_path / 'glance-image-import.conf').write_text('[DEFAULT]\nlimit_param_default = 5\n')
    monkeypatch.setenv(conf.DIRECTORY, str(tmp_path))
    assert conf.parse(conf.new()).limit_param_default == 7


def test_no_option_is_registered_twice_with_another_meaning():
    for group, found in conf.options().items():
        names = [option.dest for option in found]
        assert len(names) == len(set(names)), group


def test_the_file_that_sets_an_option_is_named_and_not_the_last_one_with_its_group(tmp_path):
    files = [tmp_path / 'first.conf', tmp_path / 'second.conf']
    files[0].write_text('[DEFAULT]\nbind_host = 127.0.0.1\nworkers = 1\n')
    files[1].write_text('[DEFAULT]\nworkers = 2\n')
    arguments = [word for file in files for word in ('--config-file', str(file))]
    read = conf.parse(conf.new(), arguments)
    assert conf.where(read, 'DEFAULT', 'bind_host') == f'{files[0]}: '
    assert conf.where(read, 'DEFAULT', 'workers') == f'{files[1]}: '
    assert conf.where(read, 'DEFAULT', 'backlog') == ''
