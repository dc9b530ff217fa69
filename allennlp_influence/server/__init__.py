"""A server for browsers and for the clients of AllenNLP's demo."""
