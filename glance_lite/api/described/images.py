# SPDX-License-Identifier: Apache-2.0
"""``/v2/images``."""

from __future__ import annotations

from glance_lite.api.described import (
    CHAIN,
    COUNT,
    JSON,
    NO_CONTENT,
    TEXT,
    Answer,
    Described,
    Parameter,
    found,
    ref,
)
from glance_lite.api.v2 import patch, query

TIME = 'A time in ISO 8601, with an operator (gt, gte, lt, lte, neq, eq) and a colon before it'

LIST = (
    Parameter('limit', 'Images in a page; 0 gives none', COUNT),
    Parameter('marker', 'Id of the image after which the page begins'),
    Parameter('sort', 'Keys with their directions: ``name:asc,created_at:desc``'),
    Parameter('sort_key', 'The older way to sort', {'enum': list(query.SORT_KEYS)}, many=True),
    Parameter('sort_dir', 'Directions of the keys', {'enum': ['asc', 'desc']}, many=True),
    Parameter('visibility', 'Images of one visibility, or all of them',
              {'enum': ['public', 'private', 'shared', 'community', 'all']}),
    Parameter('member_status', 'Shared images that the project has answered so',
              {'enum': ['accepted', 'pending', 'rejected', 'all']}),
    Parameter('os_hidden', 'Hidden images instead of the others', {'enum': ['true', 'false']}),
    Parameter('protected', 'Images that can (not) be deleted', {'enum': ['true', 'false']}),
    Parameter('tag', 'Images with all of these tags', many=True),
    *(Parameter(name, 'The value, or in: and several of them separated by commas')
      for name in sorted(query.IN_FILTERS)),
    *(Parameter(name, 'The value') for name in sorted(query.EQUAL_FILTERS)),
    *(Parameter(name + bound, about, {'type': 'integer'})
      for name in sorted(query.COUNT_FILTERS)
      for bound, about in (('', 'The value'), ('_min', 'The least'), ('_max', 'The most'))),
    *(Parameter(name, TIME) for name in sorted(query.TIME_FILTERS)),
)  # fmt: skip

CREATED = {
    'Location': 'Where the image is',
    'OpenStack-image-import-methods': 'Methods of import, where there are any',
    'OpenStack-image-store-ids': 'Ids of the stores, where there are several',
}

STEP_21 = {
    'type': 'object',
    'properties': {
        'op': {'enum': ['add', 'replace', 'remove']},
        'path': {'type': 'string', 'pattern': '^/'},
        'value': {},
    },
    'required': ['op', 'path'],
}
STEP_20 = {
    'type': 'object',
    'properties': {**dict.fromkeys(('add', 'replace', 'remove'), TEXT), 'value': {}},
}

SCHEMAS = {
    'Images': {
        'type': 'object',
        'properties': {
            'images': {'type': 'array', 'items': ref('Image')},
            'first': TEXT,
            'next': TEXT,
            'schema': TEXT,
        },
        'required': ['images', 'first', 'schema'],
        'additionalProperties': False,
    },
    'Patch': {'type': 'array', 'items': STEP_21},
    'OldPatch': {'type': 'array', 'items': STEP_20},
}

CHANGED = (*CHAIN, 409, 413)

HANDLERS = {
    'index': Described(
        'List images. A parameter that is none of these is a custom property.',
        found(ref('Images'), 'A page of images'),
        (403, 503),
        LIST,
    ),
    'create': Described(
        'Register an image',
        {201: Answer('The image is registered', ref('Image'), headers=CREATED)},
        (403, 409, 413, 503),
        body={JSON: ref('NewImage')},
    ),
    'show': Described('Show an image', found(ref('Image')), (404, 503)),
    'update': Described(
        'Change an image',
        found(ref('Image'), 'The image as it is now'),
        (*CHANGED, 415),
        body={patch.V21: ref('Patch'), patch.V20: ref('OldPatch')},
    ),
    'delete': Described('Delete an image and its data', NO_CONTENT, (*CHAIN, 409)),
    'deactivate': Described('Refuse downloads from now on', NO_CONTENT, (*CHAIN, 409)),
    'reactivate': Described('Allow downloads again', NO_CONTENT, (*CHAIN, 409)),
    'add_tag': Described('Add a tag', NO_CONTENT, CHANGED),
    'remove_tag': Described('Remove a tag', NO_CONTENT, (*CHAIN, 409)),
}
