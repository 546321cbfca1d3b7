"""Cards of models, where their files come from, and the store that keeps them."""
