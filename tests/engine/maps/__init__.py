"""Tests of engine.maps."""
