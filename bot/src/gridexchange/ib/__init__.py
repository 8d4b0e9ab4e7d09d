"""The practice Gateway: an offline server that speaks the text protocol of IB Gateway."""
