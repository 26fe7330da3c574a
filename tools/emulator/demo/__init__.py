"""
Recipe `demo`: a made-up company of 40 people with two years of mail and files.

Everything follows from the seed. People, companies and texts are invented.
"""
