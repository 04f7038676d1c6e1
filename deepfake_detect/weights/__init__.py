"""The bundled detector; its model card is README.md next to it."""
