# SPDX-License-Identifier: Apache-2.0
"""``/v2/metadefs/resource_types`` and the types of a namespace."""

from __future__ import annotations

from glance_lite.api.described import CHAIN, Described, definitions, found, ref
from glance_lite.api.v2 import metaschemas

_SEVERAL = definitions.array(ref('Association'))

SCHEMAS = {
    'Association': definitions.shown(metaschemas.RESOURCE_TYPE, 'name'),
    'Associations': definitions.exactly(
        {'resource_type_associations': _SEVERAL}, 'resource_type_associations'
    ),
    'ResourceTypes': definitions.exactly({'resource_types': _SEVERAL}, 'resource_types'),
    'NewAssociation': definitions.sent(metaschemas.RESOURCE_TYPE),
}

HANDLERS = {
    **definitions.handlers('Association', 'Associations', 'index', 'create', 'delete'),
    'types': Described('All types of resources', found(ref('ResourceTypes')), CHAIN),
}
