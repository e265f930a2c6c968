# SPDX-License-Identifier: Apache-2.0
"""Steps of the day with the real clients: staging and imports."""

from __future__ import annotations

import time
from typing import Any

from tests.clients.test_clients import table
from tests.clients.workflow import BARE, RAW, Checks, Day

#: Seconds for which an import is waited for.
PATIENCE = 120


def _shown(day: Day, image_id: str) -> dict[str, Any]:
    found: dict[str, Any] = day.alice.cloud.image.get(f'/images/{image_id}').json()
    return found


def _done(day: Day, image_id: str, status: str = 'active') -> dict[str, Any]:
    """The image, when nothing works on it any more and it is in this status."""
    deadline = time.monotonic() + PATIENCE
    while True:
        tasks = day.alice.cloud.image.get(f'/images/{image_id}/tasks').json()['tasks']
        image = _shown(day, image_id)
        over = {task['status'] for task in tasks} <= {'success', 'failure'}
        if (over and image['status'] == status) or time.monotonic() > deadline:
            return image
        time.sleep(0.2)


def _staged(day: Day) -> list[str]:
    return [path.name for path in (day.directory / 'glance' / 'staging').rglob('*')]


def staging(day: Day, check: Checks) -> None:
    shell = day.alice.shell
    info = shell.glance('import-info')
    check('import-info', 'copy-image' in info)
    made = table(shell.glance('image-create --name imported', *BARE))
    day.made['imported'] = image_id = made['id']
    sdk = day.alice.image.get_image(image_id)
    # openstacksdk does not look at the answer of an import.
    early = day.alice.image.import_image(sdk, method='glance-direct')
    check('nothing is staged yet', early.status_code, 409)
    check.refused(
        'a reader stages nothing', 403,
        lambda: day.reader.shell.openstack('image stage --file', day.file, image_id),
    )  # fmt: skip
    check.refused(
        'nor another project', 404,
        lambda: day.bob.image.stage_image(sdk, data=RAW),
    )  # fmt: skip
    shell.openstack('image stage --file', day.file, image_id)
    check('it is uploading', shell.json('image show', image_id)['status'], 'uploading')
    check('the data is staged', len(_staged(day)) > 0)
    check.refused('data twice', 409, lambda: shell.glance('image-stage --file', day.file, image_id))
    nowhere = day.alice.image.import_image(sdk, method='glance-direct', store='nosuch')
    check('a store that there is none of', nowhere.status_code, 400)
    shell.openstack('image import --method glance-direct', image_id)
    image = _done(day, image_id)
    check(
        'imported', (image['status'], image['size'], image['stores']), ('active', len(RAW), 'fast')
    )
    check('it is what was staged', day.alice.image.download_image(image_id).content == RAW)
    check('staging is empty', _staged(day), [])
    traces = {name: value for name, value in image.items() if name.startswith('os_glance')}
    check('nothing is told of any store', set(traces.values()), {''})
    rows = table(shell.glance('image-tasks', image_id))
    check('image-tasks', 'success' in str(rows))
    listed = day.alice.cloud.image.get(f'/images/{image_id}/tasks').json()['tasks']
    check('the task', [(t['type'], t['status']) for t in listed], [('api_image_import', 'success')])
    tasks = {task['ID']: task for task in day.admin.shell.json('image task list')}
    check('image task list', tasks[listed[0]['id']]['Status'], 'success')
    shown = day.admin.shell.json('image task show', listed[0]['id'])
    check('image task show', shown['status'], 'success')


def several_stores(day: Day, check: Checks) -> None:
    shell = day.alice.shell
    via = table(shell.glance(
        'image-create-via-import --name via', *BARE, '--file', day.file,
        '--import-method', 'glance-direct', '--all-stores', 'True',
    ))  # fmt: skip
    day.made['via'] = via['id']
    image = _done(day, via['id'])
    check('create-via-import', image['status'], 'active')
    check('in all stores', sorted(image['stores'].split(',')), ['cheap', 'fast'])
    plain = day.alice.image.create_image('plain', disk_format='raw', container_format='bare')
    day.made['plain'] = plain.id
    day.alice.image.stage_image(plain, filename=str(day.file))
    said = day.alice.image.import_image(plain, method='glance-direct', stores=['cheap'])
    check('sdk import', (said.status_code, said.text), (202, ''))
    image = _done(day, plain.id)
    check('in the store it named', (image['status'], image.get('stores')), ('active', 'cheap'))
    check.refused(
        'a user copies nothing', 403,
        lambda: shell.glance('image-import --import-method copy-image --all-stores True', plain.id),
    )  # fmt: skip
    day.admin.shell.openstack('image import --method copy-image --store fast --', plain.id)
    deadline = time.monotonic() + PATIENCE
    while 'fast' not in (image := _done(day, plain.id))['stores'] and time.monotonic() < deadline:
        time.sleep(0.2)
    check('copied', sorted(image['stores'].split(',')), ['cheap', 'fast'])
    check.refused(
        'copied again', 400,
        lambda: day.admin.shell.glance(
            'image-import --import-method copy-image --stores fast', plain.id
        ),
    )  # fmt: skip
    day.admin.shell.glance('stores-delete --store cheap', plain.id)
    check('one copy away', _shown(day, plain.id)['stores'], 'fast')


def given_up(day: Day, check: Checks) -> None:
    """An image that goes takes along what was staged for it."""
    shell = day.alice.shell
    lost = day.alice.image.create_image('lost', disk_format='raw', container_format='bare')
    shell.glance('image-stage --file', day.file, lost.id)
    shell.openstack('image delete', lost.id)
    deadline = time.monotonic() + PATIENCE
    while _staged(day) and time.monotonic() < deadline:
        time.sleep(0.2)
    check('nothing is staged any more', _staged(day), [])
    for name in ('imported', 'via', 'plain'):
        shell.openstack('image delete', day.made.pop(name))
    check('no imported image remains', day.alice.names() & {'imported', 'via', 'plain'}, set())


STEPS = (staging, several_stores, given_up)
