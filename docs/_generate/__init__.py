"""The generated pages of the documentation, one module for each kind."""
