"""Stocks and ETFs at Interactive Brokers, through its Gateway and ib_async's client."""
