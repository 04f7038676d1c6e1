"""The bundled detector; its model card is README.md beside it."""
