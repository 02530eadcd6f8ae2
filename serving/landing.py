"""The page at `/`: says what this is and loads nothing, from here or elsewhere."""

from __future__ import annotations

from typing import Final

__all__ = ["LANDING_PAGE"]

LANDING_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Custos</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
pre { overflow-x: auto; padding: .8rem; background: #f2f2f2; color: #111; }
</style>
</head>
<body>
<h1>Custos</h1>
<p>Customer value and churn predictions, masked by role and bound to a purpose.</p>
<ul>
<li><a href="docs.json">docs.json</a>: the API as an OpenAPI document</li>
<li><a href="livez">livez</a>, <a href="readyz">readyz</a>, <a href="healthz">healthz</a>: health</li>
<li>metrics: for a bearer of role admin or auditor</li>
</ul>
<pre>curl -s "$URL/v1/predict" -H "Authorization: Bearer $BEARER" \\
  -H "Content-Type: application/json" \\
  -d '{"customers": ["ret_..."], "models": ["churn", "clv"]}'</pre>
<p>A bearer comes from <code>custos access grant</code>.</p>
</body>
</html>
"""
