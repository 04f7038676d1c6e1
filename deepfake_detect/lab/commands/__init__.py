"""Commands of ``deepfake-detect lab``, one module each."""
