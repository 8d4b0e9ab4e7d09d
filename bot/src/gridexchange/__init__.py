"""The embedded exchange: Binance's spot REST API over a simulated market."""
