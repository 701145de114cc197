"""What storage drivers share about pools: types, references, lists, events, and the calls that only look."""
