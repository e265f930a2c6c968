# SPDX-License-Identifier: Apache-2.0
"""``/v2/metadefs/namespaces``."""

from __future__ import annotations

from glance_lite.api.described import (
    CHAIN,
    JSON,
    NO_CONTENT,
    TEXT,
    Described,
    Parameter,
    definitions,
    found,
    ref,
)
from glance_lite.api.v2 import metaschemas
from glance_lite.api.v2.attributes import MOST
from glance_lite.metadefs.model import SORT_KEYS_OF_NAMESPACES, VISIBILITIES

_ALWAYS = ('namespace', 'owner', 'self', 'schema')
_WITHIN = {
    'resource_type_associations': 'Association', 'objects': 'Object', 'tags': 'Tag',
}  # fmt: skip
_SENT = {
    **{name: {**definitions.array(ref(f'New{one}')), 'maxItems': MOST}
       for name, one in _WITHIN.items()},
    'namespace': {**metaschemas.NAMESPACE_ATTRIBUTES['namespace'], 'pattern': '^[^/]+$'},
    'properties': {**definitions.by_name(ref('NewNamelessProperty')), 'maxProperties': MOST},
}  # fmt: skip
_SHOWN = {
    **{name: definitions.array(ref(one)) for name, one in _WITHIN.items()},
    'properties': definitions.by_name(ref('NamelessProperty')),
}

SCHEMAS = {
    'Namespace': definitions.shown(metaschemas.NAMESPACE, *_ALWAYS, instead=_SHOWN),
    'Namespaces': definitions.exactly(
        {
            'namespaces': definitions.array(ref('Namespace')),
            'first': TEXT,
            'next': TEXT,
            'schema': TEXT,
        },
        'namespaces',
        'first',
        'schema',
    ),
    'NewNamespace': definitions.sent(metaschemas.NAMESPACE, **_SENT),
}

VISIBILITY = Parameter('visibility', 'Of one visibility', {'enum': list(VISIBILITIES)})

LIST = (
    definitions.LIMIT,
    Parameter('marker', 'Name of the namespace after which the page begins'),
    Parameter('sort_key', 'What to sort by', {'enum': list(SORT_KEYS_OF_NAMESPACES)}),
    definitions.SORT_DIR,
    VISIBILITY,
    Parameter('resource_types', 'Associated with one of these types, separated by commas'),
)
SHOW = (
    Parameter('resource_type', 'Names of properties get the prefix they have on this type'),
    Parameter('visibility', 'Without effect', VISIBILITY.schema),
)

BODY = {JSON: ref('NewNamespace')}

HANDLERS = {
    'index': Described('List namespaces', found(ref('Namespaces'), 'A page'), CHAIN, LIST),
    'create': Described(
        'Add a namespace with what is in it',
        definitions.added(ref('Namespace'), Location='Where the namespace is'),
        definitions.CHANGED,
        body=BODY,
    ),
    'show': Described('A namespace with what is in it', found(ref('Namespace')), CHAIN, SHOW),
    'update': Described(
        'Replace the attributes of a namespace; what is in it stays',
        found(ref('Namespace'), 'As it is now'),
        definitions.CHANGED,
        body=BODY,
    ),
    'delete': Described('Delete a namespace with what is in it', NO_CONTENT, CHAIN),
}
