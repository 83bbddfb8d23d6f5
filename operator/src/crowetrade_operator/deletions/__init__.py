"""Who deletes a resource: the API server tells a webhook before it deletes, and nobody afterwards."""
