"""Tests of tables, pages and pictures."""
