# SPDX-License-Identifier: Apache-2.0
"""Which stores there are. The options of a store itself belong to its driver."""

from __future__ import annotations

from oslo_config import cfg

#: What every store's group has beside its driver's options.
COMMON: list[cfg.Opt] = [
    cfg.StrOpt('store_description', help='What the store is, for users.'),
    cfg.IntOpt('weight', default=0, help='Stores of more weight are read from first.'),
]

OPTIONS: dict[str, list[cfg.Opt]] = {
    'DEFAULT': [
        cfg.DictOpt(
            'enabled_backends',
            help='Stores as id:type pairs. Each has a group of its id with its options.',
        ),
        cfg.StrOpt(
            'hashing_algorithm',
            default='sha512',
            help='Algorithm of os_hash_value. All API hosts must agree on it.',
        ),
        cfg.BoolOpt(
            'compute_checksum',
            default=True,
            help='Compute the MD5 of data that is uploaded. Without it the checksum of new images '
            'is null, clients verify os_hash_value alone, and an upload costs less processor time; '
            "with hashing_algorithm = sha256 it runs at the speed of the processor's SHA "
            'instructions.',
        ),
    ],
    'glance_store': [
        cfg.StrOpt(
            'default_backend', help='Id of the store that takes data when a request names none.'
        ),
        cfg.ListOpt(
            'stores',
            default=['file', 'http'],
            help='Types of stores when there is no enabled_backends.',
        ),
        cfg.StrOpt(
            'default_store',
            default='file',
            help='Type of the store that takes data when there is no enabled_backends.',
        ),
        cfg.IntOpt(
            'breaker_failures',
            default=5,
            min=0,
            help='A store that has failed so many times in a row is left alone: what needs it is '
            'answered with 503 and Retry-After, and it is probed until it answers. 0: never.',
        ),
        cfg.FloatOpt(
            'breaker_hang_time',
            default=30.0,
            min=0.1,
            help='Seconds after which a store is suspected to hang, if a request waits for it and '
            'nothing was heard of it. If it does not answer a probe either it is left alone.',
        ),
        cfg.FloatOpt(
            'breaker_longest_pause',
            default=60.0,
            min=1.0,
            help='Most seconds between two probes of a store that is left alone. The first pause '
            'is one second, and each is twice the one before.',
        ),
    ],
}
