"""What every way to an exchange needs: limits on requests, its time, its failures."""
