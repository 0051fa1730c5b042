"""The methods as the papers write them: plain loops in float64. The oracle, never exported."""
