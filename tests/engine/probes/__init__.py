"""Tests of engine.probes."""
