"""Pure arithmetic that ends in a Measurement."""
