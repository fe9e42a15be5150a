"""Tests of engine.perf."""
