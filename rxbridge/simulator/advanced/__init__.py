"""The other of Coinbase's two protocols: that of Advanced Trade."""
