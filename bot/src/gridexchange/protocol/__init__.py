"""Binance's requests and answers, whichever way they travel."""
