"""The request path: from raw fields to an answer, with nothing but a verified bundle."""
