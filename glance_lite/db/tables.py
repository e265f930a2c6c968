# SPDX-License-Identifier: Apache-2.0
"""The tables: Glance's, exactly as its revision `GLANCE_REVISION` has them, and our own.

Glance's are in `glance`; a test compares them with what Glance's own tool makes. Ours are in
`own`, have names that begin with ``gl_`` and no foreign keys to Glance's, so that Glance can
work and purge beside us. Times are naive UTC.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql

#: What a fully migrated database of Glance 33 says in ``alembic_version``.
GLANCE_REVISION = '2024_1_contract01'

glance = sa.MetaData()
own = sa.MetaData()

_MYSQL: Any = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb3'}
#: SQLite numbers rows by itself only when the key is called INTEGER.
_Serial = BigInteger().with_variant(Integer(), 'sqlite')
#: Glance's last rebuild of ``images`` in SQLite turned BIGINT into INTEGER (the same there).
_Size = BigInteger().with_variant(Integer(), 'sqlite')


def _bool(checked: str = 'all') -> sa.types.TypeEngine[Any]:
    """A boolean; `checked` says where Glance has a CHECK on it: all, mysql or none."""
    if checked == 'mysql':
        return sa.Boolean(create_constraint=True).with_variant(sa.Boolean(), 'sqlite')
    return sa.Boolean(create_constraint=checked == 'all')


def _times() -> list[Column[Any]]:
    return [Column('created_at', DateTime, nullable=False), Column('updated_at', DateTime)]


def _soft(checked: str = 'all') -> list[Column[Any]]:
    deleted = Column('deleted', _bool(checked), nullable=False)
    return [*_times(), Column('deleted_at', DateTime), deleted]


def _table(name: str, *items: Any) -> Any:
    return sa.Table(name, glance, *items, **_MYSQL)


VISIBILITY = sa.Enum('private', 'public', 'shared', 'community', name='image_visibility')

images = _table(
    'images',
    Column('id', String(36), primary_key=True),
    Column('name', String(255)),
    Column('size', _Size),
    Column('status', String(30), nullable=False),
    *_soft('mysql'),
    Column('disk_format', String(20)),
    Column('container_format', String(20)),
    Column('checksum', String(32)),
    Column('owner', String(255)),
    Column('min_disk', Integer, nullable=False),
    Column('min_ram', Integer, nullable=False),
    Column('protected', _bool('mysql'), nullable=False, server_default=sa.false()),
    Column('virtual_size', _Size),
    Column('visibility', VISIBILITY, nullable=False, server_default='shared'),
    Column('os_hidden', _bool('none'), nullable=False, server_default=sa.false()),
    Column('os_hash_algo', String(64)),
    Column('os_hash_value', String(128)),
    Index('checksum_image_idx', 'checksum'),
    Index('visibility_image_idx', 'visibility'),
    Index('ix_images_deleted', 'deleted'),
    Index('owner_image_idx', 'owner'),
    Index('created_at_image_idx', 'created_at'),
    Index('updated_at_image_idx', 'updated_at'),
    Index('os_hidden_image_idx', 'os_hidden'),
    Index('os_hash_value_image_idx', 'os_hash_value'),
)

image_properties = _table(
    'image_properties',
    Column('id', Integer, primary_key=True),
    Column('image_id', String(36), ForeignKey('images.id'), nullable=False),
    Column('name', String(255), nullable=False),
    Column('value', Text),
    *_soft(),
    UniqueConstraint('image_id', 'name', name='ix_image_properties_image_id_name'),
    Index('ix_image_properties_deleted', 'deleted'),
    Index('ix_image_properties_image_id', 'image_id'),
)

image_locations = _table(
    'image_locations',
    Column('id', Integer, primary_key=True),
    Column('image_id', String(36), ForeignKey('images.id'), nullable=False),
    Column('value', Text, nullable=False),
    *_soft(),
    Column('meta_data', Text),
    Column('status', String(30), nullable=False, server_default='active'),
    Index('ix_image_locations_deleted', 'deleted'),
    Index('ix_image_locations_image_id', 'image_id'),
)

image_members = _table(
    'image_members',
    Column('id', Integer, primary_key=True),
    Column('image_id', String(36), ForeignKey('images.id'), nullable=False),
    Column('member', String(255), nullable=False),
    Column('can_share', _bool(), nullable=False),
    *_soft(),
    Column('status', String(20), nullable=False, server_default='pending'),
    UniqueConstraint(
        'image_id', 'member', 'deleted_at', name='image_members_image_id_member_deleted_at_key'
    ),
    Index('ix_image_members_deleted', 'deleted'),
    Index('ix_image_members_image_id', 'image_id'),
    Index('ix_image_members_image_id_member', 'image_id', 'member'),
)

image_tags = _table(
    'image_tags',
    Column('id', Integer, primary_key=True),
    Column('image_id', String(36), ForeignKey('images.id'), nullable=False),
    Column('value', String(255), nullable=False),
    *_soft(),
    Index('ix_image_tags_image_id', 'image_id'),
    Index('ix_image_tags_image_id_tag_value', 'image_id', 'value'),
)

tasks = _table(
    'tasks',
    Column('id', String(36), primary_key=True),
    Column('type', String(30), nullable=False),
    Column('status', String(30), nullable=False),
    Column('owner', String(255), nullable=False),
    Column('expires_at', DateTime),
    *_soft(),
    Column('image_id', String(36)),
    Column('request_id', String(64)),
    Column('user_id', String(64)),
    *(
        Index(f'ix_tasks_{name}', name)
        for name in ('type', 'status', 'owner', 'deleted', 'updated_at', 'image_id')
    ),
)

task_info = _table(
    'task_info',
    Column('task_id', String(36), ForeignKey('tasks.id'), primary_key=True),
    Column('input', Text),
    Column('result', Text),
    Column('message', Text),
)

metadef_namespaces = _table(
    'metadef_namespaces',
    Column('id', Integer, primary_key=True),
    Column('namespace', String(80), nullable=False),
    Column('display_name', String(80)),
    Column('description', Text),
    Column('visibility', String(32)),
    Column('protected', _bool()),
    Column('owner', String(255), nullable=False),
    *_times(),
    UniqueConstraint('namespace', name='uq_metadef_namespaces_namespace'),
    Index('ix_metadef_namespaces_owner', 'owner'),
)

metadef_resource_types = _table(
    'metadef_resource_types',
    Column('id', Integer, primary_key=True),
    Column('name', String(80), nullable=False),
    Column('protected', _bool(), nullable=False),
    *_times(),
    UniqueConstraint('name', name='uq_metadef_resource_types_name'),
)

metadef_namespace_resource_types = _table(
    'metadef_namespace_resource_types',
    Column('resource_type_id', Integer, primary_key=True, autoincrement=False),
    Column('namespace_id', Integer, primary_key=True, autoincrement=False),
    Column('properties_target', String(80)),
    Column('prefix', String(80)),
    *_times(),
    # In this order: MySQL numbers unnamed foreign keys.
    sa.ForeignKeyConstraint(['namespace_id'], ['metadef_namespaces.id']),
    sa.ForeignKeyConstraint(['resource_type_id'], ['metadef_resource_types.id']),
    Index('ix_metadef_ns_res_types_namespace_id', 'namespace_id'),
)


def _in_namespace(name: str, *columns: Column[Any]) -> Any:
    return _table(
        name,
        Column('id', Integer, primary_key=True),
        Column('namespace_id', Integer, ForeignKey('metadef_namespaces.id'), nullable=False),
        Column('name', String(80), nullable=False),
        *columns,
        *_times(),
        UniqueConstraint('namespace_id', 'name', name=f'uq_{name}_namespace_id_name'),
        Index(f'ix_{name}_name', 'name'),
    )


metadef_objects = _in_namespace(
    'metadef_objects',
    Column('description', Text),
    Column('required', Text),
    Column('json_schema', Text, nullable=False),
)
metadef_properties = _in_namespace(
    'metadef_properties', Column('json_schema', Text, nullable=False)
)
metadef_tags = _in_namespace('metadef_tags')

node_reference = _table(
    'node_reference',
    Column('node_reference_id', _Serial, primary_key=True),
    Column('node_reference_url', String(255), nullable=False),
    UniqueConstraint('node_reference_url', name='uq_node_reference_node_reference_url'),
)

cached_images = _table(
    'cached_images',
    Column('id', _Serial, primary_key=True),
    Column('image_id', String(36), nullable=False),
    Column('last_accessed', DateTime, nullable=False),
    Column('last_modified', DateTime, nullable=False),
    Column('size', BigInteger, nullable=False),
    Column('hits', Integer, nullable=False),
    Column('checksum', String(32)),
    Column(
        'node_reference_id', _Serial, ForeignKey('node_reference.node_reference_id'), nullable=False
    ),
    UniqueConstraint(
        'image_id', 'node_reference_id', name='ix_cached_images_image_id_node_reference_id'
    ),
)

# --- ours

#: An upload or delete that is going on: who does it, and what a recovery needs.
operations = sa.Table(
    'gl_operations',
    own,
    Column('serial', _Serial, primary_key=True),
    Column('image_id', String(36), nullable=False),
    Column('kind', String(20), nullable=False),  # upload, delete, import ...
    Column('store', String(255)),
    Column('name', String(255), nullable=False),  # what the driver was told
    Column('kept', Text),  # JSON: what to restore or to remove
    Column('project', String(255)),
    Column('user_id', String(255)),
    Column('host', String(255), nullable=False),
    Column('boot_id', String(36), nullable=False),
    Column('pid', Integer, nullable=False),
    Column('started', DateTime, nullable=False),  # the database's clock
    Column('heartbeat', DateTime, nullable=False),  # the database's clock
    Column('state', String(20), nullable=False),  # running, or taken by a sweeper
    Index('gl_operations_image', 'image_id'),
    Index('gl_operations_heartbeat', 'heartbeat'),
    sqlite_autoincrement=True,  # a serial must never come twice
    **_MYSQL,
)

#: Room that uploads under way have been promised.
reservations = sa.Table(
    'gl_reservations',
    own,
    Column('id', _Serial, primary_key=True),
    Column('serial', _Serial, nullable=False),
    Column('project', String(255), nullable=False),
    Column('amount', BigInteger, nullable=False),
    Column('counter', String(20), nullable=False, server_default='size'),  # size or staged
    Index('gl_reservations_serial', 'serial'),
    Index('gl_reservations_project', 'project'),
    **_MYSQL,
)

#: One row a project: what it uses, and what uploads under way have been promised. Whoever counts
#: holds it until the end of the transaction (`glance_lite.db.usage`).
usage = sa.Table(
    'gl_usage',
    own,
    Column('project', String(255), primary_key=True),
    # raised by versions that count nothing, when they reserve something
    Column('changes', BigInteger, nullable=False),
    *(
        Column(name, BigInteger, nullable=False, server_default='0')
        for name in (
            'size',  # bytes
            'images',
            'uploading',
            'staged',  # bytes
            'reserved_size',
            'reserved_staged',
            'known_changes',  # what `changes` was when this was counted
        )
    ),
    Column('counted_at', DateTime),  # when the images were last looked at; NULL: never
    Column('watermark', DateTime),  # what of the images changed since then ...
    Column('recent', String(64)),  # ... has this digest
    **_MYSQL,
)

#: What an operation of kind ``job`` is to import, and how far it is.
jobs = sa.Table(
    'gl_jobs',
    own,
    Column('serial', _Serial, primary_key=True, autoincrement=False),  # of the operation
    Column('task_id', String(36), nullable=False),
    Column('image_id', String(36), nullable=False),
    Column('method', String(255), nullable=False),
    # JSON: what was asked for, by whom, what of the image is to be restored
    Column('wanted', Text().with_variant(mysql.LONGTEXT(), 'mysql'), nullable=False),
    # JSON: which steps are over, and what others keep
    Column('steps', Text().with_variant(mysql.LONGTEXT(), 'mysql'), nullable=False),
    Column('percent', Integer, nullable=False),
    Column('created', DateTime, nullable=False),  # the database's clock
    Index('gl_jobs_image', 'image_id'),
    **_MYSQL,
)

#: The copy of a job in one store.
copies = sa.Table(
    'gl_copies',
    own,
    Column('id', _Serial, primary_key=True),
    Column('job', _Serial, nullable=False),  # serial of the operation
    Column('image_id', String(36), nullable=False),
    Column('store', String(255), nullable=False),
    Column('state', String(20), nullable=False),  # waiting, done, failed
    Column('location', _Serial),  # id in image_locations
    Column('reason', Text),
    Index('gl_copies_job', 'job'),
    **_MYSQL,
)

#: What there is to know of an image whose upload failed.
failures = sa.Table(
    'gl_failures',
    own,
    Column('image_id', String(36), primary_key=True),
    Column('reason', Text, nullable=False),
    Column('at', DateTime, nullable=False),
    # the next upload gets a name of its own: something may still write under the old one
    Column('fenced', _bool('none'), nullable=False),
    **_MYSQL,
)

#: Events that are to be sent, in the order in which things happened.
outbox = sa.Table(
    'gl_outbox',
    own,
    Column('serial', _Serial, primary_key=True),
    Column('message', Text().with_variant(mysql.LONGTEXT(), 'mysql'), nullable=False),  # JSON
    Column('at', DateTime, nullable=False),  # the database's clock
    sqlite_autoincrement=True,  # a serial must never come twice
    **_MYSQL,
)

#: One row: who sends what is in the outbox, and what has become of it. Times are the database's.
outbox_sender = sa.Table(
    'gl_outbox_sender',
    own,
    Column('id', Integer, primary_key=True, autoincrement=False),  # 1
    Column('sender', String(64)),  # NULL: nobody
    Column('host', String(255)),
    Column('boot_id', String(36)),
    Column('pid', Integer),
    Column('since', DateTime, nullable=False),
    Column('heartbeat', DateTime, nullable=False),  # of the sender, or of the last failure
    Column('failing_since', DateTime),  # NULL: what was sent last has arrived
    Column('dropped', BigInteger, nullable=False),
    **_MYSQL,
)

#: One row a duty of maintenance: who does it, and what came of it the last time. Times are the
#: database's.
duties = sa.Table(
    'gl_duties',
    own,
    Column('name', String(64), primary_key=True),
    Column('holder', String(64)),  # NULL: nobody
    Column('host', String(255)),
    Column('boot_id', String(36)),
    Column('pid', Integer),
    Column('began', DateTime, nullable=False),
    Column('heartbeat', DateTime, nullable=False),
    Column('ended', DateTime),  # NULL: no run has come to its end yet
    Column('result', Text),  # JSON
    Column('problem', Text),  # NULL: the last run did not fail
    **_MYSQL,
)

#: Copies that an auditor found not to be as they should be. They are not served as long as the row
#: in image_locations is `model.QUARANTINED`.
quarantine = sa.Table(
    'gl_quarantine',
    own,
    Column('location_id', Integer, primary_key=True, autoincrement=False),
    Column('image_id', String(36), nullable=False),
    Column('store', String(255)),
    Column('shown', Text, nullable=False),  # the url without credentials
    Column('fault', String(20), nullable=False),
    Column('text', Text, nullable=False),
    Column('since', DateTime, nullable=False),  # the database's clock
    Index('gl_quarantine_image', 'image_id'),
    **_MYSQL,
)

#: How far long work has come, for whoever carries it on.
positions = sa.Table(
    'gl_positions',
    own,
    Column('name', String(255), primary_key=True),
    Column('position', Text, nullable=False),  # JSON
    Column('at', DateTime, nullable=False),  # the database's clock
    **_MYSQL,
)

#: In which stores an image is to be, and in which not, where that is not so yet.
placements = sa.Table(
    'gl_placements',
    own,
    Column('image_id', String(36), primary_key=True),
    Column('store', String(255), primary_key=True),
    Column('wanted', _bool('none'), nullable=False),
    Column('since', DateTime, nullable=False),  # the database's clock
    Column('due', DateTime, nullable=False),  # not to be tried before
    Column('attempts', Integer, nullable=False),
    Column('problem', Text),
    Index('gl_placements_due', 'due'),
    **_MYSQL,
)

#: Additional indexes on Glance's tables, for lists: name -> (table, columns). Columns behind ``id``
#: are there so that rows of others are passed over within the index.
INDEXES: dict[str, tuple[str, tuple[str, ...]]] = {
    'gl_images_time': ('images', ('deleted', 'os_hidden', 'created_at', 'id', 'visibility')),
    'gl_images_visibility': (
        'images',
        ('deleted', 'visibility', 'os_hidden', 'created_at', 'id'),
    ),
    'gl_images_project': (
        'images',
        ('deleted', 'owner', 'os_hidden', 'created_at', 'id', 'visibility'),
    ),
    'gl_image_members_member': ('image_members', ('member', 'deleted', 'status', 'image_id')),
    # not for lists: what of a project has changed lately
    'gl_images_changed': ('images', ('owner', 'updated_at')),
}

_BEHIND = ('os_hidden', 'created_at', 'id', 'owner', 'visibility')
#: What lists are sorted by besides time, owner and id.
SORTED = ('name', 'status', 'disk_format', 'container_format', 'size', 'updated_at')

#: The same for filters and other orders, not in SQLite. Of a property's value only the beginning
#: is in the index.
FILTER_INDEXES: dict[str, tuple[str, tuple[str, ...]]] = {
    'gl_image_properties_value': ('image_properties', ('name', 'value')),
    'gl_image_tags_value': ('image_tags', ('value', 'image_id')),
    **{f'gl_images_{name}': ('images', ('deleted', name, *_BEHIND)) for name in SORTED},
}
BEGINNING = 64

#: In PostgreSQL alone, of the images that have an unusual value (the migration says which).
UNUSUAL_INDEXES: dict[str, tuple[str, tuple[str, ...]]] = {
    f'gl_images_{name}': ('images', ('deleted', name, *_BEHIND))
    for name in ('protected', 'os_hash_algo', 'min_disk', 'min_ram', 'virtual_size')
}
