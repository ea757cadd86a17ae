"""The whole suite on one machine: four services behind one port, their workers beside, and what looks at all of them."""
