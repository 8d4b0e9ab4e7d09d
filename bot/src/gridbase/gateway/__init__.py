"""What programs that share one Gateway of Interactive Brokers have in common."""
