# SPDX-License-Identifier: Apache-2.0
"""``/v2/metadefs/namespaces/{namespace}/tags``."""

from __future__ import annotations

from glance_lite.api.described import CHAIN, JSON, TEXT, Described, Parameter, definitions, ref
from glance_lite.api.v2 import metaschemas
from glance_lite.metadefs.model import SORT_KEYS_OF_TAGS

SCHEMAS = {
    'Tag': definitions.shown(metaschemas.TAG, 'name'),
    'Tags': definitions.exactly(
        {'tags': definitions.array(definitions.exactly({'name': TEXT}, 'name'))}, 'tags'
    ),
    'NewTag': definitions.sent(metaschemas.TAG),
    'NewTags': definitions.sent(metaschemas.TAGS),
}

LIST = (
    definitions.LIMIT,
    Parameter('marker', 'Name of the tag after which the list begins'),
    Parameter('sort_key', 'What to sort by', {'enum': list(SORT_KEYS_OF_TAGS)}),
    definitions.SORT_DIR,
    Parameter('visibility', 'Without effect', {'enum': ['public', 'private', 'shared']}),
)

HANDLERS = {
    **definitions.handlers('Tag', 'Tags', 'index', 'clear', 'show', 'update', 'delete', index=LIST),
    'add': Described('Add a tag', definitions.added(ref('Tag')), (*CHAIN, 409)),
    'create_several': Described(
        'Replace all tags, or add some',
        definitions.added(ref('Tags')),
        definitions.CHANGED,
        headers=(Parameter('X-Openstack-Append', 'true: the tags that are there stay'),),
        body={JSON: ref('NewTags')},
    ),
}
