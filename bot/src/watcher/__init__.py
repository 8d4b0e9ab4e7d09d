"""The option watcher: chains, snapshots with Greeks and bars from IB Gateway. It trades nothing."""
