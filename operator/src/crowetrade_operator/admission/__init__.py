"""Who changes or deletes a resource: the API server tells a webhook before it does so, and nobody afterwards."""
