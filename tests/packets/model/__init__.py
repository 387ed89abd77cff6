"""A director in plain Python: it reads whole frames, says what becomes of them, and knows what is in the table then.

It shares nothing with the data plane. Where that may choose (a local port, an identification), the model is shown the
frame that left, takes the choice from there, and checks that it was allowed.
"""
