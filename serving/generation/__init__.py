"""Generation: who needs artworks, what to order for them within the budget, and who delivers it."""
