"""Presidio's pattern engine over texts: its default recognisers without a language model. Runs in its own environment.

Two traps: the e-mail recogniser would fetch the public suffix list at its first use, and the engine wants a language
model; the list that tldextract brings is used, and an engine that tells nothing.
"""

from __future__ import annotations

import json
import sys
import time

import tldextract.tldextract
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

tldextract.extract = tldextract.tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


class NoModel(NlpEngine):
    """Tells nothing of a text."""

    def load(self) -> None: ...

    def is_loaded(self) -> bool:
        return True

    def process_text(self, text: str, language: str) -> NlpArtifacts:
        return NlpArtifacts([], [], [], [], self, language)

    def process_batch(self, texts, language, **_):
        return ((text, self.process_text(text, language)) for text in texts)

    def is_stopword(self, word: str, language: str) -> bool:
        return False

    def is_punct(self, word: str, language: str) -> bool:
        return False

    def get_supported_entities(self) -> list[str]:
        return []

    def get_supported_languages(self) -> list[str]:
        return ["en"]


def main() -> None:
    texts = json.load(sys.stdin)
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    registry.remove_recognizer("SpacyRecognizer")
    all_seconds = seconds(registry, texts)
    registry.remove_recognizer("PhoneRecognizer")  # the only one of them that isn't made of patterns
    json.dump({"all": all_seconds, "patterns": seconds(registry, texts)}, sys.stdout)


def seconds(registry: RecognizerRegistry, texts: list[str]) -> float:
    """CPU of one pass; patterns are compiled and tables loaded in a pass over a few texts before."""
    engine = AnalyzerEngine(registry=registry, nlp_engine=NoModel(), supported_languages=["en"])
    for text in texts[:: max(1, len(texts) // 50)]:
        engine.analyze(text, language="en")
    start = time.process_time()
    for text in texts:
        engine.analyze(text, language="en")
    return time.process_time() - start


if __name__ == "__main__":
    main()
