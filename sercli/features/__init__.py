"""From signals to feature matrices, and the store that keeps them."""
