"""What a comparison puts side by side: methods at budgets, and the tables of the paper."""
