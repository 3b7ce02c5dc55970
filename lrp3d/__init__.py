"""How much of the clip did my network really use? Layer-wise relevance propagation for video CNNs."""
