# SPDX-License-Identifier: Apache-2.0
"""Steps of the day with the real clients: images."""

from __future__ import annotations

import hashlib
import time

import requests

from tests.clients import cache_steps
from tests.clients.test_clients import table
from tests.clients.workflow import BARE, RAW, Checks, Day


def discovery(day: Day, check: Checks) -> None:
    session = day.alice.cloud.session
    where = {'service_type': 'image', 'region_name': day.region.name}
    check('catalog leads here', session.get_endpoint(**where).rstrip('/'), day.server.url)
    check('endpoint has v2', day.alice.image.get_endpoint().rstrip('/'), day.server.url + '/v2')
    catalog = day.alice.shell.json('catalog show image')
    check('catalog show', day.server.url in str(catalog['endpoints']))
    check('its version is discovered', day.alice.image.get_api_major_version()[0], 2)
    check('nothing there', day.alice.shell.json('image list'), [])
    methods = day.alice.shell.json('image import info')['import-methods']
    check('import info', isinstance(methods, list))
    stores = day.alice.shell.json('image stores list')
    check('stores list', {store['ID'] for store in stores}, {'fast', 'cheap'})
    check('one is the default', [s['ID'] for s in stores if s['Default']], ['fast'])
    check('glance stores-info', 'cheap' in day.alice.shell.glance('stores-info'))
    check('sdk stores', {store.id for store in day.bob.image.stores()}, {'fast', 'cheap'})
    detail = {store.id: store for store in day.admin.image.stores(details=True)}
    check('an administrator sees details', detail['fast'].properties is not None)
    check.refused('a user does not', 403, lambda: list(day.bob.image.stores(details=True)))


def create(day: Day, check: Checks) -> None:
    shell = day.alice.shell
    made = shell.json(
        'image create', *BARE, '--file', day.file, '--property', 'kind=first', '--tag', 'blue',
        '--min-disk', 1, '--min-ram', 64, 'first',
    )  # fmt: skip
    day.made['first'] = made['id']
    shown = shell.json('image show', 'first')
    check('status', shown['status'], 'active')
    check('owner is the project', shown['owner'], day.alice.project_id)
    check('visibility', shown['visibility'], 'shared')
    check('size', shown['size'], len(RAW))
    check('checksum', shown['checksum'], hashlib.md5(RAW).hexdigest())
    check('hash', shown['properties']['os_hash_value'], hashlib.sha512(RAW).hexdigest())
    check('property', shown['properties']['kind'], 'first')
    check('tag', shown['tags'], ['blue'])
    check('minima', (shown['min_disk'], shown['min_ram']), (1, 64))
    copy = day.directory / 'copy'
    shell.openstack('image save --file', copy, 'first')
    check('saved', copy.read_bytes() == RAW)
    shell.openstack('image save --chunk-size 1000 --file', copy, day.made['first'])
    check('saved in chunks', copy.read_bytes() == RAW)
    row = table(shell.glance(
        'image-create', '--name', 'second', *BARE, '--file', day.file, '--store', 'cheap',
        '--visibility', 'private',
    ))  # fmt: skip
    day.made['second'] = row['id']
    check('glance image-create', (row['status'], row['visibility']), ('active', 'private'))
    check('in the store it named', row['stores'], 'cheap')
    third = day.alice.image.create_image(
        'third', filename=str(day.file), disk_format='raw', container_format='bare', wait=True
    )
    day.made['third'] = third.id
    check('sdk create_image', day.alice.image.get_image(third.id).status, 'active')
    queued = day.alice.image.create_image('queued', disk_format='raw', container_format='bare')
    day.made['queued'] = queued.id
    check('without data it is queued', queued.status, 'queued')
    check('a queued image has no data', len(shell.json('image list --status queued')), 1)
    ours = {'first', 'second', 'third', 'queued'}
    check('list', {row['Name'] for row in shell.json('image list')}, ours)


def others(day: Day, check: Checks) -> None:
    first, second = day.made['first'], day.made['second']
    check('a reader sees', day.reader.sees(first))
    check('a reader sees what is private', day.reader.sees(second))
    image = day.reader.image
    check.refused(
        'but does not download', 403,
        lambda: day.reader.shell.glance('image-download --file', day.directory / 'no', first),
    )  # fmt: skip
    check.refused('a reader creates nothing', 403, lambda: image.create_image('no', wait=False))
    check.refused('nor changes', 403, lambda: image.update_image(first, name='no'))
    check.refused('nor deletes', 403, lambda: image.delete_image(first))
    check.refused('nor shares', 403, lambda: image.add_member(first, member_id='x'))
    check.refused('nor tags', 403, lambda: image.add_tag(first, 'no'))
    check('another project sees nothing', list(day.bob.image.images()), [])
    check('nor finds it', day.bob.sees(first), False)
    check.refused('nor by its id', 404, lambda: day.bob.image.get_image(first))
    check.refused(
        'nor deletes it', 404, lambda: day.bob.image.delete_image(first, ignore_missing=False)
    )
    check('an administrator sees', day.admin.sees(second))
    everything = day.admin.names(visibility='all')
    check('an administrator lists all', everything >= {'first', 'second', 'third'})
    check('a service lists', list(day.service.image.images()), [])
    check.refused(
        'a service alone creates nothing', 403,
        lambda: day.service.image.create_image('no', wait=False),
    )  # fmt: skip

    late = day.region.cloud.ending(day.alice.account.token(), time.time() - 60)
    headers = {'X-Auth-Token': late}
    path = f'{day.server.url}/v2/images/{first}'
    check('an ended token', requests.get(path, headers=headers, timeout=60).status_code, 401)
    headers['X-Service-Token'] = day.service.account.token()
    check('with a service', requests.get(path, headers=headers, timeout=60).status_code, 200)


def change(day: Day, check: Checks) -> None:
    shell, first = day.alice.shell, day.made['first']
    shell.openstack(
        'image set', '--name', 'renamed', '--property', 'os_distro=debian', '--property', 'x=y',
        '--tag', 'red', '--min-ram', 128, first,
    )  # fmt: skip
    shown = shell.json('image show', first)
    check('set name', shown['name'], 'renamed')
    check('set tag', sorted(shown['tags']), ['blue', 'red'])
    check('set property', (shown['properties']['os_distro'], shown['min_ram']), ('debian', 128))
    shell.openstack('image unset --tag blue --property x', first)
    shown = shell.json('image show', first)
    check('unset', (shown['tags'], 'x' in shown['properties']), (['red'], False))
    shell.glance('image-update --name first --property os_distro=suse', first)
    check('glance image-update', day.alice.image.get_image(first).os_distro, 'suse')
    shell.glance('image-update --remove-property os_distro', first)
    check('it removes', day.alice.image.get_image(first).os_distro, None)
    shell.glance('image-tag-update', first, 'green')
    shell.glance('image-tag-delete', first, 'red')
    check('glance tags', day.alice.image.get_image(first).tags, ['green'])
    day.alice.image.add_tag(first, 'yellow')
    day.alice.image.remove_tag(first, 'green')
    check('sdk tags', day.alice.image.get_image(first).tags, ['yellow'])
    updated = day.alice.image.update_image(first, min_disk=3)
    check('sdk update', updated.min_disk, 3)
    shell.openstack('image set --protected', first)
    check.refused('protected', 403, lambda: shell.openstack('image delete', first))
    shell.openstack('image set --unprotected', first)
    shell.openstack('image set --hidden', first)
    check('hidden from lists', 'first' in day.alice.names(), False)
    hidden = {row['Name'] for row in shell.json('image list --hidden')}
    check('list --hidden', hidden, {'first'})
    shell.openstack('image set --unhidden', first)
    day.reader.image.deactivate_image(first)  # openstacksdk does not look at the answer
    check('a reader deactivates nothing', day.alice.image.get_image(first).status, 'active')
    shell.openstack('image set --deactivate', first)
    check('deactivated', day.alice.image.get_image(first).status, 'deactivated')
    check.refused(
        'no download then', 403,
        lambda: shell.glance('image-download --file', day.directory / 'no', first),
    )  # fmt: skip
    admins = day.admin.image.download_image(first)
    check('but for an administrator', admins.content == RAW)
    shell.openstack('image set --activate', first)
    shell.glance('image-deactivate', first)
    shell.glance('image-reactivate', first)
    check('active again', day.alice.image.get_image(first).status, 'active')


def lists(day: Day, check: Checks) -> None:
    def listed(*options: object) -> list[str]:
        return [row['Name'] for row in day.alice.shell.json('image list', *options)]

    check('by property', listed('--property', 'kind=first'), ['first'])
    check('by tag', listed('--tag', 'yellow'), ['first'])
    check('by name', listed('--name', 'second'), ['second'])
    check('private', listed('--private'), ['second'])
    check('shared', set(listed('--shared')), {'first', 'third', 'queued'})
    check('public', listed('--public'), [])
    check('community', listed('--community'), [])
    ordered = ['first', 'queued', 'second', 'third']
    check('sorted', listed('--sort', 'name:asc'), ordered)
    check('downwards', listed('--sort', 'name:desc'), ordered[::-1])
    check('paged', listed('--page-size', 1, '--sort', 'name:asc'), ordered)
    # The client sorts by itself; the service gives the newest first.
    check('from a marker', listed('--marker', 'queued'), ['first', 'second', 'third'])
    check('limited', listed('--limit', 2), ['queued', 'third'])
    check('long', 'Checksum' in day.alice.shell.json('image list --long')[0])
    check('glance image-list', 'second' in day.alice.shell.glance('image-list --sort name:asc'))
    check('sdk filters', day.alice.names(visibility='private'), {'second'})


def sharing(day: Day, check: Checks) -> None:
    shell, first, bob = day.alice.shell, day.made['first'], day.bob.project_id
    check.refused(
        'a private image is not shared', 403,
        lambda: shell.openstack('image add project', day.made['second'], bob),
    )  # fmt: skip
    added = shell.json('image add project', first, bob)
    check('add project', (added['member_id'], added['status']), (bob, 'pending'))
    check('the member may look', day.bob.sees(first))
    check('but does not list it', day.bob.names(), set())
    pending = {'visibility': 'shared', 'member_status': 'pending'}
    check('nor accepted', day.bob.names(**pending), {'first'})
    check.refused(
        'the owner does not accept', 403,
        lambda: day.alice.image.update_member(bob, first, status='accepted'),
    )  # fmt: skip
    day.bob.shell.openstack('image set --accept', first)
    check('accepted', day.bob.names(), {'first'})
    check('the member downloads', day.bob.image.download_image(first).content == RAW)
    check.refused('changes nothing', 403, lambda: day.bob.image.update_image(first, name='no'))
    members = shell.json('image member list', first)
    check('member list', [(m['Member ID'], m['Status']) for m in members], [(bob, 'accepted')])
    check('member get', shell.json('image member get', first, bob)['status'], 'accepted')
    check('member-list', bob in day.bob.shell.glance('member-list --image-id', first))
    day.bob.shell.glance('member-update', first, bob, 'rejected')
    check('rejected', day.bob.names(), set())
    day.bob.image.update_member(bob, first, status='pending')
    check('pending again', day.alice.image.get_member(bob, first).status, 'pending')
    shell.openstack('image remove project', first, bob)
    check('removed', day.bob.sees(first), False)
    shell.glance('member-create', first, bob)
    check('glance member-create', [m.member_id for m in day.alice.image.members(first)], [bob])
    shell.glance('member-delete', first, bob)
    check('glance member-delete', list(day.alice.image.members(first)), [])


def visibilities(day: Day, check: Checks) -> None:
    third = day.made['third']
    day.alice.shell.openstack('image set --community', third)
    check('community is seen', day.bob.sees(third))
    check('but not listed', day.bob.names(), set())
    check('unless asked for', day.bob.names(visibility='community'), {'third'})
    check.refused(
        'only an administrator publishes', 403,
        lambda: day.alice.shell.openstack('image set --public', third),
    )  # fmt: skip
    day.admin.shell.openstack('image set --public', third)
    check('public is listed', day.bob.names(), {'third'})
    check('by a service too', day.service.names(), {'third'})
    check.refused(
        'not theirs', 403, lambda: day.bob.image.delete_image(third, ignore_missing=False)
    )
    day.admin.shell.openstack('image set --project', day.bob.project_id, '--private', third)
    check('given away', day.alice.sees(third), False)
    check('to its new owner', day.bob.image.get_image(third).owner, day.bob.project_id)


def refusals(day: Day, check: Checks) -> None:
    shell, queued = day.alice.shell, day.made['queued']
    check.refused(
        'an unknown format', 400,
        lambda: day.alice.image.create_image('no', disk_format='nosuch', wait=False),
    )  # fmt: skip
    check.refused('a lie', 415, lambda: day.alice.image.create_image(
        'lie', filename=str(day.file), disk_format='qcow2', container_format='bare', wait=True,
    ))  # fmt: skip
    check.refused(
        'data twice', 409,
        lambda: shell.glance('image-upload --file', day.file, day.made['first']),
    )  # fmt: skip
    shell.glance('image-upload --file', day.file, queued)
    check('image-upload', day.alice.image.get_image(queued).status, 'active')
    shell.glance('image-download --file', day.directory / 'copy2', queued)
    check('image-download', (day.directory / 'copy2').read_bytes() == RAW)
    check.refused('a bad id', 404, lambda: shell.glance('image-show nosuch'))


def removal(day: Day, check: Checks) -> None:
    shell = day.alice.shell
    check.refused(
        'the only copy stays', 403,
        lambda: day.alice.image.delete_image(day.made['second'], store='cheap'),
    )  # fmt: skip
    shell.openstack('image delete', 'first', day.made['second'])
    check('deleted', {'first', 'second'} & day.alice.names(), set())
    check.refused('and gone', 404, lambda: day.alice.image.get_image(day.made['first']))
    shell.glance('image-delete', day.made['queued'])
    day.bob.image.delete_image(day.made['third'])
    # openstacksdk has removed the image whose upload was refused.
    check('no image remains', day.admin.names(visibility='all'), set())
    check('no file remains', day.server.files(), [])


def schemas(day: Day, check: Checks) -> None:
    image = day.alice.image
    check('image schema', 'os_hidden' in image.get_image_schema().properties)
    check('images schema', 'images' in image.get_images_schema().properties)
    check('member schema', 'member_id' in image.get_member_schema().properties)
    check('members schema', 'members' in image.get_members_schema().properties)
    check('explain', 'os_hash_value' in day.alice.shell.glance('explain image'))


STEPS = (
    discovery, create, others, change, lists, sharing, visibilities, *cache_steps.STEPS, refusals,
    removal, schemas,
)  # fmt: skip
