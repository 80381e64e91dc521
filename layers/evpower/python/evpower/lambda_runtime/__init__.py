"""What every Lambda function has around its own work: AWS Powertools, set up once for all of them.

Only functions import this package; the socket tier writes the same log lines and metrics without Powertools.
"""
