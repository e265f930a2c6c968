# SPDX-License-Identifier: Apache-2.0
"""The operator's policy files: in which order they count, and when a change of them is seen."""

from __future__ import annotations

import json
import os

import pytest

from glance_lite import conf
from glance_lite.context import RequestContext
from glance_lite.errors import ConfigurationError
from glance_lite.policy import enforcer as module
from glance_lite.policy.enforcer import Enforcer


class Files:
    """A directory with policy files, and an enforcer on it whose clock the test moves."""

    def __init__(self, directory, clock, text=''):
        self.directory = directory
        self.clock = clock
        (directory / 'glance-api.conf').write_text(text)
        made = conf.parse(conf.new(), ['--config-file', str(directory / 'glance-api.conf')])
        self.enforcer = Enforcer(made)

    def write(self, name, **rules):
        """JSON is YAML, too."""
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(rules))
        return path

    def may(self, *roles, rule='get_image', wait=True):
        """Whether somebody with these roles may, some time after whatever has happened."""
        if wait:
            self.clock[0] += module.INTERVAL
        ctx = RequestContext(roles=list(roles), overwrite=False)
        return self.enforcer.allowed(ctx, rule, {})


@pytest.fixture
def files(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(module.time, 'monotonic', lambda: clock[0])
    return Files(tmp_path, clock)


# --- order


def test_what_comes_later_counts(files):
    files.write('policy.yaml', get_image='role:main', add_image='role:main', copy_image='role:main')
    files.write('policy.d/20.yaml', get_image='role:twenty')
    files.write('policy.d/10.json', get_image='role:ten', add_image='role:ten')
    files.write('policy.d/.99.yaml', get_image='!')
    (files.directory / 'policy.d' / 'more').mkdir()
    (files.directory / 'policy.d' / 'more' / '30.yaml').write_text('get_image: "!"')
    files.enforcer.start()
    said = {'get_image': 'twenty', 'add_image': 'ten', 'copy_image': 'main'}
    for rule, role in said.items():
        for other in ('main', 'ten', 'twenty'):
            assert files.may(other, rule=rule) is (other == role), (rule, other)
    assert files.enforcer.own == said.keys()


def test_several_directories_count_in_their_order(tmp_path, monkeypatch):
    text = '[oslo_policy]\npolicy_file = p.json\npolicy_dirs = b.d\npolicy_dirs = a.d\n'
    files = Files(tmp_path, [0.0], text)
    files.write('p.json', get_image='role:main')
    files.write('b.d/1.yaml', get_image='role:b')
    files.write('a.d/1.yaml', get_image='role:a')
    files.enforcer.start()
    assert files.may('a', wait=False) and not files.may('b', wait=False)


def test_without_files_the_defaults_count(files):
    files.enforcer.start()
    assert files.may('admin') and not files.may('reader')


# --- changes


def test_a_changed_file_is_seen(files):
    files.write('policy.yaml', get_image='role:ops')
    files.enforcer.start()
    assert files.may('ops')
    files.write('policy.yaml', get_image='role:others')
    assert not files.may('ops') and files.may('others')
    assert files.enforcer.check() is None


def test_a_file_that_is_new_and_gone_again_is_seen(files):
    files.enforcer.start()
    assert not files.may('ops')
    main = files.write('policy.yaml', get_image='role:ops')
    assert files.may('ops')
    part = files.write('policy.d/10.yaml', get_image='role:others')
    assert not files.may('ops') and files.may('others')
    other = files.write('policy.d/20.yaml', get_image='role:third')
    assert files.may('third') and not files.may('others')
    part.unlink()
    assert files.may('third')
    other.unlink()
    assert files.may('ops')
    main.unlink()
    assert not files.may('ops') and files.may('admin')


def test_a_rule_that_is_gone_from_a_file_is_the_default_again(files):
    """Glance goes on with what the file said before, until it is started anew."""
    files.write('policy.yaml', get_image='role:ops', add_image='role:ops')
    files.enforcer.start()
    assert files.may('ops')
    files.write('policy.yaml', add_image='role:ops')
    assert not files.may('ops') and files.may('admin')
    assert files.may('ops', rule='add_image')


def test_a_file_put_in_the_place_of_another_is_seen_however_old(files):
    main = files.write('policy.yaml', get_image='role:ops')
    files.enforcer.start()
    older = files.write('old.yaml', get_image='role:new')  # of the same size
    os.utime(older, (1, 1))
    older.replace(main)
    assert files.may('new') and not files.may('ops')


def test_a_link_that_leads_elsewhere_is_seen(files):
    """As a directory of a Kubernetes ConfigMap is changed."""
    for name in ('one', 'two'):
        files.write(f'{name}/policy.yaml', get_image=f'role:{name}')
    data = files.directory / 'data'
    data.symlink_to('one')
    (files.directory / 'policy.yaml').symlink_to('data/policy.yaml')
    files.enforcer.start()
    assert files.may('one')
    new = files.directory / 'new'
    new.symlink_to('two')
    new.replace(data)
    assert files.may('two') and not files.may('one')


def test_files_are_looked_at_in_one_place_and_not_for_each_request(files, monkeypatch):
    files.write('policy.yaml', get_image='role:ops')
    files.enforcer.start()
    looks = []
    stamp = files.enforcer.files.stamp
    monkeypatch.setattr(files.enforcer.files, 'stamp', lambda: looks.append(1) or stamp())
    for _ in range(100):
        assert files.may('ops', wait=False)
    assert not looks
    for _ in range(3):
        assert files.may('ops')
    assert len(looks) == 3


# --- broken files


@pytest.mark.parametrize('broken', ['{', 'get_image: [', '- 1\n- 2\n', 'text', '\x00'])
@pytest.mark.parametrize('name', ['policy.yaml', 'policy.d/10.yaml'])
def test_a_file_broken_on_reload_keeps_the_last_good_rules(files, name, broken, caplog):
    files.write('policy.yaml', get_image='!', add_image='role:ops')
    files.write('policy.d/10.yaml', get_image='role:ops')
    files.enforcer.start()
    files.write('policy.yaml', get_image='@', add_image='@')
    (files.directory / name).write_text(broken)
    for _ in range(3):
        assert files.may('ops') and not files.may() and not files.may(rule='add_image')
    assert name in files.enforcer.check() and '\n' not in files.enforcer.check()
    assert len([one for one in caplog.records if 'stay in force' in one.message]) == 1
    files.write(name, get_image='@', add_image='@')
    files.write('policy.d/10.yaml', get_image='@')
    assert files.may() and files.enforcer.check() is None


def test_a_check_that_is_no_check_keeps_the_last_good_rules(files):
    files.write('policy.yaml', get_image='role:ops')
    files.enforcer.start()
    files.write('policy.yaml', get_image=5)
    assert files.may('ops') and not files.may()
    assert 'policy.yaml' in files.enforcer.check()


def test_a_file_that_is_a_directory_is_not_an_empty_one(files):
    files.write('policy.yaml', get_image='role:ops')
    files.enforcer.start()
    (files.directory / 'policy.yaml').unlink()
    (files.directory / 'policy.yaml').mkdir()
    assert files.may('ops')
    assert 'policy.yaml' in files.enforcer.check()


def test_a_directory_that_is_none_stops_the_start_and_not_the_service(files):
    (files.directory / 'policy.d').write_text('')
    with pytest.raises(ConfigurationError, match=r'policy_dirs: .*policy\.d cannot be read'):
        files.enforcer.start()
    (files.directory / 'policy.d').unlink()
    files.write('policy.d/10.yaml', get_image='role:ops')
    files.enforcer.start()
    (files.directory / 'policy.d' / '10.yaml').unlink()
    (files.directory / 'policy.d').rmdir()
    (files.directory / 'policy.d').write_text('')
    assert files.may('ops') and not files.may()
    assert 'policy_dirs' in files.enforcer.check()


@pytest.mark.parametrize('name', ['policy.yaml', 'policy.d/10.yaml'])
@pytest.mark.parametrize('broken', ['get_image: [', 'get_image: 5'])
def test_a_file_broken_at_start_stops_it_with_one_sentence(files, name, broken):
    files.write(name)
    (files.directory / name).write_text(broken)
    with pytest.raises(ConfigurationError, match=r'\[oslo_policy\] policy_') as caught:
        files.enforcer.start()
    assert '\n' not in caught.value.message
    assert name.partition('/')[0] in caught.value.message
