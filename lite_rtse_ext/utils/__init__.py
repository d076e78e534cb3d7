"""Utilities that every subpackage may use, such as atomic files, argument checks, option types and worker processes.

This subpackage imports no other one.
"""
