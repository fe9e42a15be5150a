"""Tests of engine.syscall."""
