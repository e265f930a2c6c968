# SPDX-License-Identifier: Apache-2.0
"""Options of a store of type swift."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        'swift_store_config_file',
        help='File with references: for each a section with auth_address, user (PROJECT:USER) and '
        'key, or application_credential_id and application_credential_secret; and where need be '
        'user_domain_id, user_domain_name, project_domain_id, project_domain_name and '
        'auth_version (1 for TempAuth and its like). Not with swift_store_multi_tenant.',
    ),
    cfg.StrOpt(
        'default_swift_reference',
        default='ref1',
        help='The reference whose account takes images. Urls name it, so it must keep its name.',
    ),
    cfg.StrOpt(
        'swift_store_auth_version',
        default='3',
        choices=['1', '3'],
        help='How tokens are had where a reference does not say: 3 from Keystone, 1 from TempAuth '
        'and its like.',
    ),
    cfg.StrOpt(
        'swift_store_auth_address',
        help='Where tokens are had, for example https://HOST:5000/v3. This and the options for '
        'credentials are the reference, if there is no swift_store_config_file.',
    ),
    cfg.StrOpt('swift_store_user', secret=True, help='User, as PROJECT:USER.'),
    cfg.StrOpt('swift_store_key', secret=True, help='Password of the user.'),
    cfg.StrOpt(
        'swift_store_application_credential_id',
        secret=True,
        help='Id of an application credential of Keystone, which is used instead of the user.',
    ),
    cfg.StrOpt(
        'swift_store_application_credential_secret',
        secret=True,
        help='Secret of the application credential.',
    ),
    cfg.StrOpt(
        'swift_store_project_name',
        help='Does nothing: an application credential is good for one project and says which.',
    ),
    cfg.StrOpt('swift_store_project_id', help='Does nothing, as swift_store_project_name.'),
    cfg.BoolOpt(
        'swift_store_auth_insecure',
        default=False,
        help='Do not verify https servers, those that give tokens included.',
    ),
    cfg.StrOpt(
        'swift_store_cacert',
        sample_default='/etc/ssl/certs/ca-certificates.crt',
        help='Certificates of authorities that https servers are verified with, as PEM. Those of '
        'the library if it is not set.',
    ),
    cfg.StrOpt(
        'swift_store_region',
        sample_default='RegionTwo',
        help='Region whose Swift is taken, where the catalog has several.',
    ),
    cfg.StrOpt(
        'swift_store_endpoint',
        sample_default='https://swift.openstack.example.org/v1/path_not_including_container_name',
        help='Url of the account, up to where a container would stand. It takes the place of the '
        'one that comes with a token.',
    ),
    cfg.StrOpt(
        'swift_store_endpoint_type',
        default='publicURL',
        choices=['publicURL', 'adminURL', 'internalURL'],
        help='Which endpoint of the catalog is taken.',
    ),
    cfg.StrOpt(
        'swift_store_service_type',
        default='object-store',
        help='Type of the service in the catalog.',
    ),
    cfg.StrOpt(
        'swift_store_container',
        default='glance',
        help='Container of the images; the beginning of its name, where there are several.',
    ),
    cfg.IntOpt(
        'swift_store_large_object_size',
        default=5120,
        min=1,
        help='Size from which an image is stored in segments, in units of 1000 KiB. No more than '
        'the server takes for one object (5 GiB, unless it is configured otherwise).',
    ),
    cfg.IntOpt(
        'swift_store_large_object_chunk_size',
        default=200,
        min=1,
        help='Size of a segment, in units of 1000 KiB. Segments of very large images are larger.',
    ),
    cfg.BoolOpt(
        'swift_store_create_container_on_put',
        default=False,
        help='Make a container with its first image, if it is not there. With '
        'swift_store_multi_tenant that is always done.',
    ),
    cfg.BoolOpt(
        'swift_store_multi_tenant',
        default=False,
        help='Store what a project uploads in the account of that project, with a container for '
        'each image.',
    ),
    cfg.IntOpt(
        'swift_store_multiple_containers_seed',
        default=0,
        min=0,
        max=32,
        help='So many characters of the id of an image become part of the name of its container: '
        '2 makes 256 containers. 0: there is one.',
    ),
    cfg.ListOpt(
        'swift_store_admin_tenants',
        default=[],
        help='Ids of projects that may write what projects have in their accounts. Only with '
        'swift_store_multi_tenant.',
    ),
    cfg.BoolOpt(
        'swift_store_ssl_compression',
        default=True,
        help='Does nothing: no TLS library compresses any more.',
    ),
    cfg.IntOpt(
        'swift_store_retry_get_count',
        default=0,
        min=0,
        help='How often a download that breaks off is continued from the same store, where it '
        'broke off.',
    ),
    cfg.IntOpt(
        'swift_store_expire_soon_interval',
        default=60,
        min=0,
        help='Seconds before its end that a token is renewed.',
    ),
    cfg.BoolOpt(
        'swift_store_use_trusts',
        default=True,
        help='Does nothing: when the token of a user ends during an upload, the service finishes '
        'it with credentials of its own.',
    ),
    cfg.BoolOpt(
        'swift_buffer_on_upload',
        default=False,
        help='Write each segment to a file first, so that it can be sent once more when a request '
        'breaks off. An upload that is under way takes as much room as a segment has.',
    ),
    cfg.StrOpt(
        'swift_upload_buffer_dir',
        help='Directory of these files. Must be set with swift_buffer_on_upload.',
    ),
]
