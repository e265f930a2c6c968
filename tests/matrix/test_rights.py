# SPDX-License-Identifier: Apache-2.0
"""Who may do what: every cell of ``rights.txt``, asked of the whole application in process.

That the table is Glance's is shown by tests/peers/test_rights.py.
"""

from __future__ import annotations

import re

import pytest

from tests.matrix import asking, seeds, table
from tests.matrix.inside import glance_lite
from tests.matrix.operations import NONE, OPERATIONS
from tests.matrix.people import PEOPLE
from tests.peers.glance33 import ROOT

TABLES = {defaults: table.read(defaults) for defaults in table.FILES}
UNKNOWN = '99999999-2222-4333-8444-555555555555'

#: A new image has an id in its body, and cannot have that of one that the caller does not see.
OF_AN_IMAGE = [name for name, one in OPERATIONS.items() if '<image>' in one.path]
#: state -> the operation that tells who sees what all is about, where it is not ``show``
SHOWS = {
    'of nobody': 'show, of nobody',
    'of nobody, queued': 'show, of nobody',
    seeds.TASK: 'task',
    seeds.NAMESPACE: 'namespace',
}
#: the same by operation: a service registers and reads locations of images it may not show
SHOWS_FOR = {
    'tasks of the image': ('show',),
    'locations': ('show', 'locations'),
    'locations, queued': ('show', 'locations, queued'),
    'locations, deactivated': ('show', 'locations, deactivated'),
    'register': ('show', 'locations, queued'),
    'register, active': ('show', 'locations'),
    'register, of nobody': ('show, of nobody', 'register, of nobody'),
    'register, another scheme': ('show', 'locations, queued'),
}
#: What has these is not seen by everybody.
HIDDEN = {'private', 'shared', *NONE}


@pytest.fixture(scope='module', params=table.FILES)
def service(tmp_path_factory, request):
    """(table, how to send, seeds) of a service with these defaults of policies."""
    with glance_lite(tmp_path_factory.mktemp('rights'), request.param) as found:
        yield TABLES[request.param], *found


@pytest.mark.parametrize('name', OPERATIONS)
def test_same_rights(service, name):
    """Each answer is the table's, and a refusal changes nothing."""
    expected, send, seeded = service
    operation = OPERATIONS[name]
    wrong = []
    for visibility in operation.visibilities:
        seeded.reset(operation.image, visibility)
        before = seeded.state()
        answers = asking.answers(send, seeded, operation, visibility)
        for want, (who, answer) in zip(expected[name, visibility].ours, answers, strict=True):
            got = asking.cell(operation, answer)
            if got != want:
                wrong.append(f'{visibility}, {who.name}: {got}, not {want}: {answer.body[:200]!r}')
            changed = seeded.state() != before
            if changed and (operation.method == 'GET' or answer.status >= 400):
                wrong.append(f'{visibility}, {who.name}: {got}, and something has changed')
    assert not wrong, '\n'.join([name, *wrong])


@pytest.mark.parametrize('name', OF_AN_IMAGE)
def test_what_may_not_be_seen_is_as_if_it_were_not_there(service, name):
    """To the byte, but for the ids of the image and of the request."""
    expected, send, seeded = service
    operation = OPERATIONS[name]
    shows = SHOWS_FOR.get(name, (SHOWS.get(operation.image, 'show'),))
    for visibility in sorted(HIDDEN.intersection(operation.visibilities)):
        seeded.reset(operation.image, visibility)
        for number, who in enumerate(PEOPLE):
            # 400: the location is refused, so the image was found.
            if {expected[show, visibility].ours[number] for show in shows} & {'200', '400'}:
                continue
            there, nowhere = (
                send(who, *operation.request(who, image_id, visibility))
                for image_id in (seeds.IMAGE_ID, UNKNOWN)
            )
            assert _plain(there) == _plain(nowhere), (visibility, who.name)


def _plain(answer: asking.Heard) -> tuple[int, dict[str, str], bytes]:
    headers = {
        key: value for key, value in answer.headers.items() if key != 'x-openstack-request-id'
    }
    body = answer.body.replace(seeds.IMAGE_ID.encode(), UNKNOWN.encode())
    return answer.status, headers, body


def test_without_a_token_nobody_does_anything(tmp_path):
    """Unless anonymous callers are let in, which is not the default."""
    anonymous = next(who for who in PEOPLE if who.role == 'anon')
    with glance_lite(tmp_path, default='') as (send, seeded):
        for operation in OPERATIONS.values():
            seeded.reset(operation.image, 'public')
            request = operation.request(anonymous, seeds.IMAGE_ID, 'public')
            assert send(anonymous, *request).status == 401, operation.name


@pytest.mark.parametrize('defaults', table.FILES)
def test_the_table_is_whole(defaults):
    """A row for each operation and visibility, as the script writes it."""
    assert not table.lacking(TABLES[defaults])
    assert table.write(TABLES[defaults]) == table.FILES[defaults].read_text()


def test_each_difference_is_told():
    """The marks of the tables and those of the documentation are the same."""
    page = (ROOT / 'doc' / 'source' / 'differences.rst').read_text()
    told = set(re.findall(r'``test_same_rights``: ``([a-z0-9-]+)``', page))
    assert told == {row.mark for one in TABLES.values() for row in one.values() if row.mark}
