"""``deepfake-detect lab COMMAND``: one module a command."""
