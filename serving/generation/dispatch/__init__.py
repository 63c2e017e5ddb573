"""Who makes what is ordered: providers behind one interface, and what runs them."""
