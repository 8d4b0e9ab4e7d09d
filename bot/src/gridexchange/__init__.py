"""The practice exchange: Binance's spot REST API over a simulated market."""
