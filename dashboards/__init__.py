"""Grafana dashboards and Prometheus rules, written as code and committed as files."""
