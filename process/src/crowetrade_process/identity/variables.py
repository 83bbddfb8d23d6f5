"""Names of the environment variables of the identity, and the defaults of what they name."""

from __future__ import annotations

from enum import StrEnum

DEFAULT_TRUST_DOMAIN = "crowetrade.local"
DEFAULT_LIFETIME = "1h"
IDENTITY_DIRECTORY = "/var/run/crowetrade/identity"
IDENTITY_TOKEN_FILE = "/var/run/secrets/crowetrade/vault/token"


class IdentitySource(StrEnum):
    """Where certificates come from; None: there are none, and connections are plain TCP."""

    NONE = "None"
    VAULT = "Vault"
    FILES = "Files"


class IdentityVariable(StrEnum):
    """Environment variables of the identity. Those of Vault are named as its own client names them."""

    SOURCE = "IDENTITY_SOURCE"
    TRUST_DOMAIN = "IDENTITY_TRUST_DOMAIN"
    # Of source Files.
    DIRECTORY = "IDENTITY_DIRECTORY"
    # URIs, separated by commas.
    ADMINISTRATORS = "IDENTITY_ADMINISTRATORS"
    OPERATOR_NAMESPACE = "IDENTITY_OPERATOR_NAMESPACE"
    # Of source Vault.
    TOKEN_FILE = "IDENTITY_TOKEN_FILE"
    VAULT_PKI_PATH = "IDENTITY_VAULT_PKI_PATH"
    VAULT_ROLE = "IDENTITY_VAULT_ROLE"
    VAULT_AUTH_PATH = "IDENTITY_VAULT_AUTH_PATH"
    VAULT_AUTH_ROLE = "IDENTITY_VAULT_AUTH_ROLE"
    # "true": the certificate has to hold the names of the pods of a StatefulSet as well, by which they know each other.
    POD_NAMES = "IDENTITY_POD_NAMES"
    # Of a certificate, such as 1h.
    LIFETIME = "IDENTITY_LIFETIME"
    # Several addresses are separated by commas, and asked in turn.
    VAULT_ADDR = "VAULT_ADDR"
    VAULT_CACERT = "VAULT_CACERT"
    VAULT_NAMESPACE = "VAULT_NAMESPACE"
    VAULT_TLS_SERVER_NAME = "VAULT_TLS_SERVER_NAME"
    # "true" lets the token go to Vault over plain HTTP.
    VAULT_ALLOW_HTTP = "IDENTITY_VAULT_ALLOW_HTTP"
    # The DNS name in the certificate of NATS, where it is not the host of NATS_URL.
    NATS_SERVER_NAME = "NATS_TLS_SERVER_NAME"
