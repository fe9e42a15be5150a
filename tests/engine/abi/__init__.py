"""Tests of engine.abi."""
