# SPDX-License-Identifier: Apache-2.0
"""glance-lite beside Glance 33 on the same database and the same files; see README.rst."""
