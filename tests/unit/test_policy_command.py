# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage policy explain``, and what the documentation shows of it."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from glance_lite import conf as configuration
from glance_lite.layers.db import Database
from glance_lite.model import Changes
from glance_lite.testing.layers import caller
from glance_lite.testing.metadefs import make_namespace
from tests.backends import keystone
from tests.unit.test_manage import conf, manage

assert conf  # a fixture of the tests of the other commands

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / 'doc' / 'source' / 'admin' / 'policy.rst'
OPERATOR = ROOT / 'tests' / 'peers' / 'operator'


@pytest.fixture
def operator(conf):
    """A configuration with the files of an operator."""
    shutil.copytree(OPERATOR, conf.parent, dirs_exist_ok=True)
    return conf


@pytest.fixture
def db(operator):
    """The database of that configuration."""
    manage(operator, 'db', 'sync')
    layer = Database(
        type('Parts', (), {'conf': configuration.parse(
            configuration.new(), ['--config-file', str(operator)])})
    )  # fmt: skip
    layer.start()
    yield layer
    layer.stop()


def explain(file, *arguments):
    """The documents that the command prints as JSON."""
    code, out, err = manage(file, 'policy', 'explain', '--json', *arguments)
    assert (code, err) == (0, ''), err
    return json.loads(out)


MEMBER = ('--project', 'alpha', '--roles', 'member,reader')
OTHER = ('--project', 'beta', '--roles', 'Member,reader')


def examples():
    """(command, output) of each example of the page."""
    text = PAGE.read_text()
    for block in re.findall(r'^\.\. code-block:: console\n\n((?:   .*\n|\n)+)', text, re.M):
        lines = [line.removeprefix('   ') for line in block.rstrip('\n').splitlines()]
        command, rest = lines[0], lines[1:]
        while command.endswith('\\'):
            command = command[:-1] + rest.pop(0)
        yield command.removeprefix('$ '), '\n'.join(rest)


@pytest.mark.parametrize(('command', 'output'), list(examples()))
def test_examples_of_the_documentation(operator, command, output):
    program, *arguments = shlex.split(command)
    assert program == 'glance-lite-manage'
    code, out, err = manage(operator, *arguments)
    assert (code, err) == (0, '')
    assert out.replace(str(operator.parent), '/etc/glance').rstrip() == output


def test_an_image_of_the_database(operator, db):
    def make(**fields):
        changes = Changes(fields=fields, properties={'os_class': 'secret'})
        return db.create_image(caller('alpha'), changes).id

    public, private = make(visibility='public'), make(visibility='private')
    (seen,) = explain(operator, *OTHER, '--image', public, 'download_image')
    assert (seen['allowed'], seen['status']) == (False, 403)
    assert seen['target'] == {
        'project_id': 'alpha', 'member_id': 'None', 'visibility': 'public', 'os_class': 'secret'
    }  # fmt: skip
    assert seen['source'] == f'{operator.parent}/policy.yaml'
    assert seen['caller']['roles'] == 'member,reader'
    (hidden,) = explain(operator, *OTHER, '--image', private, 'download_image')
    assert hidden['status'] == 404 and 'database' in hidden['note']
    (own,) = explain(operator, *MEMBER, '--image', private, 'download_image')
    assert own['allowed']
    code, out, _ = manage(
        operator, 'policy', 'explain', *OTHER, '--image', private, 'get_image', 'delete_image'
    )
    assert code == 0 and out.count('refused, with 404 Not Found') == 2
    assert f'about   image {private}' in out and 'note    The database' in out


def test_a_namespace_of_the_database(operator, db):
    db.create_namespace(caller('alpha'), make_namespace('ours'))
    publisher = ('--project', 'alpha', '--roles', 'publisher,reader')
    rule = 'modify_metadef_namespace'
    (found,) = explain(operator, *publisher, '--namespace', 'ours', rule)
    assert found['allowed'] and found['about'] == 'namespace ours'
    (found,) = explain(operator, *MEMBER, '--namespace', 'ours', rule)
    assert found['status'] == 403


def test_all_rules(operator):
    found = explain(operator, *MEMBER, '--all')
    assert len(found) == 67 and all(one['because']['check'] for one in found)
    code, out, _ = manage(operator, 'policy', 'explain', *MEMBER, '--all')
    assert code == 0 and len(out.splitlines()) == 67
    assert re.search(r'^refused 403  communitize_image .*policy.d/10-freeze.yaml$', out, re.M)
    assert re.search(r'^allowed      add_image_location .*default$', out, re.M)


def test_rules_of_the_operators_own(operator):
    (found,) = explain(operator, '--roles', 'billing', 'billing_reads')
    assert found['allowed'] and found['rule'].startswith('role:billing or')


def test_tokens_of_other_kinds(operator):
    (found,) = explain(operator, '--system', '--roles', 'admin', 'get_images')
    assert not found['allowed'] and 'scope' in found['because']['check']
    (found,) = explain(operator, '--domain', 'default', '--roles', 'admin', 'get_images')
    assert not found['allowed']


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ((), 'Name one action or more'),
        (('--all', 'get_image'), 'or --all'),
        (('modify_imge',), 'no policy rule modify_imge; did you mean modify_image'),
        (('zzz',), 'no policy rule zzz'),
        (('--target', 'x', 'get_image'), 'NAME=VALUE'),
        (('--image', 'x', '--owner', 'y', 'get_image'), 'not in the database'),
        (('--image', 'x', '--namespace', 'y', 'get_image'), 'not about both'),
        (('--keystone', 'get_image'), 'needs --user and --project'),
        (('--keystone', '--user', 'a', '--project', 'b', 'get_image'), '[keystone_authtoken]'),
    ],
)
def test_what_cannot_be_explained(operator, arguments, said):
    code, out, err = manage(operator, 'policy', 'explain', *arguments)
    assert code == 1 and out == '' and said in err
    assert err.count('\n') == 1 and 'Traceback' not in err


def test_what_is_not_in_the_database(operator):
    manage(operator, 'db', 'sync')
    for option, name in (('--image', 'nosuch'), ('--namespace', 'nosuch')):
        code, _, err = manage(operator, 'policy', 'explain', option, name, 'get_image')
        assert code == 1 and name in err and err.count('\n') == 1


def test_help(operator):
    code, out, _ = manage(operator, 'policy', 'explain', '--help')
    assert code == 0 and 'examples:' in out
    for option in ('--user', '--image', '--json', '--all', '--keystone', '--target'):
        assert option in out


def test_files_that_cannot_be_read(operator):
    (operator.parent / 'policy.d' / '10-freeze.yaml').write_text('get_image: [')
    code, _, err = manage(operator, 'policy', 'explain', *MEMBER, 'get_image')
    assert code == 1 and '10-freeze.yaml' in err and err.count('\n') == 1


@pytest.mark.parametrize(
    ('tool', 'said'),
    [
        # What is in force, defaults included.
        ('oslopolicy-policy-generator', '"communitize_image": "!"'),
        # What a file says and is the default all the same.
        ('oslopolicy-list-redundant', '"copy_image": "rule:context_is_admin"'),
    ],
)
def test_tools_of_oslo_policy(operator, tool, said):
    (operator.parent / 'policy.d' / '90.yaml').write_text('copy_image: rule:context_is_admin\n')
    done = subprocess.run(
        [pathlib.Path(sys.executable).parent / tool, '--namespace', 'glance_lite'],
        capture_output=True,
        text=True,
        env={**os.environ, 'OS_GLANCE_CONFIG_DIR': str(operator.parent)},
    )
    assert done.returncode == 0 and said in done.stdout.splitlines(), done.stdout + done.stderr


@pytest.mark.peer
def test_keystone_is_asked_by_name_and_by_id(operator):
    region = keystone.cloud().region()
    alice = region.user('alice', roles=('member', 'reader'))
    with operator.open('a') as file:
        # Whoever asks must be allowed to read what roles others have.
        file.write(region.authtoken(username='admin', project_name='admin'))
    for user, project in (
        (alice.name, alice.project),
        (alice.user_id, alice.project_id),
    ):
        who = ('--keystone', '--user', user, '--project', project)
        (found,) = explain(operator, *who, 'add_image')
        assert found['allowed'] and found['caller']['project_id'] == alice.project_id
        assert found['caller']['roles'] == 'member,reader'
        assert keystone.PASSWORD not in json.dumps(found)
    for user, project, said in (
        ('nobody-at-all', alice.project, 'no user nobody-at-all'),
        (alice.name, region.project('other')[0], 'no role'),
    ):
        who = ('--keystone', '--user', user, '--project', project)
        code, _, err = manage(operator, 'policy', 'explain', *who, 'add_image')
        assert code == 1 and said in err and err.count('\n') == 1
        assert keystone.PASSWORD not in err
