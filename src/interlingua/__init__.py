"""The open, self-hosted home of the Azure AI Model Inference API."""

__version__ = "0.1.0"
