"""Features + model → answers, over HTTP and in batch.

In the order the data flows:

- `store`: the only reader of MLflow; a version's bundle in a local folder;
- `scorer`: orders + bundle → answers, the one scorer; `lifecycle`, `segments`: rules over a customer's facts;
- `answer`: answers → the fields that are given, the one assembler;
- `schemas`, `requests`: what the service takes and gives; bytes → answers;
- `front`, `observing`, `openapi`, `page`: our HTTP routes; `service`: BentoML around them;
- `batch`: the whole base to a file or a table; `settings`: what an operator may set.
"""
