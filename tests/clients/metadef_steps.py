# SPDX-License-Identifier: Apache-2.0
"""Steps of the day with the real clients: metadata definitions."""

from __future__ import annotations

import json

from tests.clients.workflow import Checks, Day

SPACE = 'acme::hardware'
MD = 'image metadef '
SIZES = json.dumps({'enum': ['small', 'large'], 'description': 'How much there is'})


def namespaces(day: Day, check: Checks) -> None:
    boss, shell = day.admin.shell, day.alice.shell
    check.refused(
        'a user makes no namespace', 403,
        lambda: shell.openstack(MD + 'namespace create mine'),
    )  # fmt: skip
    made = boss.json(
        MD + 'namespace create', SPACE, '--display-name', 'Hardware', '--description', 'Of ACME',
        '--private', '--unprotected',
    )  # fmt: skip
    check('namespace create', (made['namespace'], made['visibility']), (SPACE, 'private'))
    check('a private one is hidden', day.alice.shell.json(MD + 'namespace list'), [])
    check.refused('even by name', 404, lambda: day.alice.image.get_metadef_namespace(SPACE))
    boss.openstack(MD + 'namespace set --public --display-name Ware', SPACE)
    shown = shell.json(MD + 'namespace show', SPACE)
    check('a public one is shown', shown['display_name'], 'Ware')
    listed = [row['namespace'] for row in shell.json(MD + 'namespace list --visibility public')]
    check('and listed', listed, [SPACE])
    check('glance md-namespace-list', SPACE in day.reader.shell.glance('md-namespace-list'))
    check('sdk', {space.namespace for space in day.bob.image.metadef_namespaces()}, {SPACE})
    # What is not said anew is as in a new namespace.
    boss.openstack(MD + 'namespace set --public --protected', SPACE)
    check.refused('protected', 403, lambda: boss.openstack(MD + 'namespace delete', SPACE))
    boss.openstack(MD + 'namespace set --public', SPACE)


def contents(day: Day, check: Checks) -> None:
    boss, shell = day.admin.shell, day.bob.shell
    made = boss.json(
        MD + 'property create --name size --title Size --type string --schema', SIZES, SPACE
    )
    check('property create', made['enum'], ['small', 'large'])
    boss.openstack(MD + 'property set --title Amount', SPACE, 'size')
    check('property set', shell.json(MD + 'property show', SPACE, 'size')['title'], 'Amount')
    names = [row['name'] for row in shell.json(MD + 'property list', SPACE)]
    check('property list', names, ['size'])
    check.refused(
        'a user adds none', 403,
        lambda: shell.openstack(
            MD + 'property create --name no --title no --type string --schema {}', SPACE
        ),
    )  # fmt: skip
    made = boss.json(MD + 'object create --namespace', SPACE, 'disk')
    check('object create', made['name'], 'disk')
    boss.glance(
        'md-object-update', SPACE, 'disk', '--schema',
        json.dumps({'properties': {'speed': {'title': 'Speed', 'type': 'integer'}}}),
    )  # fmt: skip
    shown = shell.json(MD + 'object property show', SPACE, 'disk', 'speed')
    check('object property show', (shown['title'], shown['type']), ('Speed', 'integer'))
    boss.openstack(MD + 'object update --name drive', SPACE, 'disk')
    check('object update', shell.json(MD + 'object show', SPACE, 'drive')['name'], 'drive')
    check('object list', [r['name'] for r in shell.json(MD + 'object list', SPACE)], ['drive'])
    boss.glance('md-tag-create', SPACE, '--name', 'fast')
    boss.glance('md-tag-create-multiple', SPACE, '--names', 'slow,cold')
    tags = shell.glance('md-tag-list', SPACE)
    check('tags', all(tag in tags for tag in ('slow', 'cold')))
    boss.glance('md-tag-update', SPACE, 'cold', '--name', 'warm')
    check('md-tag-show', 'warm' in shell.glance('md-tag-show', SPACE, 'warm'))
    boss.glance('md-tag-delete', SPACE, 'warm')
    check.refused('md-tag-delete', 404, lambda: shell.glance('md-tag-show', SPACE, 'warm'))


def associations(day: Day, check: Checks) -> None:
    boss, shell = day.admin.shell, day.alice.shell
    kind = MD + 'resource type '
    made = boss.json(kind + 'association create', SPACE, 'OS::Acme::Box')
    check('association create', made['name'], 'OS::Acme::Box')
    rows = shell.json(kind + 'association list', SPACE)
    check('association list', 'OS::Acme::Box' in str(rows))
    check('resource type list', 'OS::Acme::Box' in str(shell.json(kind + 'list')))
    check('md-resource-type-list', 'OS::Acme' in shell.glance('md-resource-type-list'))
    filtered = {'resource_types': 'OS::Acme::Box'}
    found = [space.namespace for space in day.alice.image.metadef_namespaces(**filtered)]
    check('namespaces of a type', found, [SPACE])
    boss.openstack(kind + 'association delete', SPACE, 'OS::Acme::Box')
    check('association delete', shell.json(kind + 'association list', SPACE), [])


def schemas_and_end(day: Day, check: Checks) -> None:
    boss, image = day.admin.shell, day.alice.image
    for what in ('namespace', 'namespaces', 'object', 'objects', 'property', 'properties',
                 'resource_type', 'resource_types', 'tag', 'tags'):  # fmt: skip
        schema = getattr(image, f'get_metadef_{what}_schema')()
        check(f'schema of {what}', bool(schema.properties))
    boss.openstack(MD + 'property delete', SPACE, 'size')
    boss.openstack(MD + 'object delete', SPACE, 'drive')
    check('both are gone', list(image.metadef_properties(SPACE)), [])
    boss.openstack(MD + 'namespace delete', SPACE)
    check('so is the namespace', day.admin.shell.json(MD + 'namespace list'), [])


STEPS = (namespaces, contents, associations, schemas_and_end)
