# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions: what properties and tags a cloud knows of, for clients that offer them."""
