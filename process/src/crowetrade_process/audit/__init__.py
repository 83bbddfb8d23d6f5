"""The audit trail: one hash chain per writer in one stream, signed at intervals.

A writer is an identity (namespace and service account), and appends to its own subject, fenced by the sequence that it
follows there. So what a gateway did is recorded by the gateway itself, also while the operator is away; nobody waits
for anybody else's records; and who may write which chain is a permission on one subject.
"""
