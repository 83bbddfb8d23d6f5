"""The Vault roles and policies of the venues: what they should be, and the calls to Vault."""
