"""The page at `/`: what runs here and how to ask it. Static, loads nothing from anywhere."""

from __future__ import annotations

PAGE = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Predictive CLV</title>
<style>
 body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#1f2933}
 h1{font-size:1.6rem} code,pre{background:#f3f5f7;border-radius:4px;padding:.1em .3em}
 pre{padding:1rem;overflow:auto} a{color:#1b6ca8}
</style>
<h1>Predictive CLV</h1>
<p>What each customer will be worth, from their orders.</p>
<pre>CLV=http://localhost:3000   # the address of this page
curl -s $CLV/v1/predict \\
  -H 'content-type: application/json' -d '
{"customers": [{"customer_id": "anna", "orders": [
  {"ordered_at": "2024-01-05", "amount": 30.0},
  {"ordered_at": "2024-02-11", "amount": 42.5}]}]}'</pre>
<p>Where keys are set, calls and two of these links want <code>authorization: Bearer KEY</code>.</p>
<ul>
 <li><a href="/docs.json">OpenAPI document</a></li>
 <li><a href="/v1/model">The loaded model</a></li>
 <li><a href="/readyz">Ready?</a> <a href="/livez">Alive?</a> <a href="/metrics">Metrics</a></li>
</ul>
</html>
"""
