"""Credentials for those who don't have azure-core; its own and azure-identity's work too."""

from .sdk.credentials import AccessToken, AzureKeyCredential

__all__ = ["AccessToken", "AzureKeyCredential"]
