# SPDX-License-Identifier: Apache-2.0
"""Events: what is told of what has happened, and how it gets to those who want to know."""
