"""Campaigns against the kernel's verifier: generated programs and objects as compilers emit them."""
