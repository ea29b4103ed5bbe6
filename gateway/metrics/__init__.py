"""Prometheus metrics: what is counted, how a scrape reads it, and how it is written down without delaying a call."""

from gateway.metrics.collector import Metrics as Metrics
from gateway.metrics.collector import QuotaSample as QuotaSample
