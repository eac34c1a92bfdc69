"""The node: keeps time, holds the show, runs the world and the outputs in processes of their own.

Importing this package loads neither torch nor any protocol library.
"""
