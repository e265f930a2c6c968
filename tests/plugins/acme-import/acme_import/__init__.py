# SPDX-License-Identifier: Apache-2.0
"""Searches imported data for what must not be in an image."""
