"""What starts runs by itself: new data, closed windows, a new reference."""
