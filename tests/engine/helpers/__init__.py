"""Tests of engine.helpers."""
