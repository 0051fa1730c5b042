"""What computing costs, counted rather than timed."""
