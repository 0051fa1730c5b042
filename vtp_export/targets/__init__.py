"""What each version of a runtime accepts (data, one JSON file a target), and the rules that `lint` applies."""
