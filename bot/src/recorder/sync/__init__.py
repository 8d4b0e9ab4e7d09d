"""Copies of the recording in S3, and how much of the disk the recording may take."""
