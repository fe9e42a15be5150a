"""Tests of engine.verifier."""
