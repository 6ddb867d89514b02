"""The model card: card.json with every fact, and card.html, one page that reads offline and prints."""

from tidemill.training.card.page import write_card

__all__ = ["write_card"]
