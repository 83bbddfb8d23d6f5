"""The only code that talks to gateways directly."""
