"""Drawings as data, and what turns them into files."""
