"""The operator with a whole fleet: etcd, kube-apiserver, NATS and the operator are real processes.

There are no controllers and no nodes: nothing but the API server, etcd and the operator is measured. Children exist,
and the benchmark creates their pods and writes the status of these and of the Deployments, so that they count as ready.
Gateways and agents are one process that reports over NATS what they would report (load.py).
"""
