"""Features + model → answers, over HTTP and in batch.

In the order the data flows:

- `store`: the only reader of MLflow; `follower`, `pointer`: which bundle is to be served; `served`: what a worker has;
- `order_store`, `migrations`, `intake`: orders that are posted, and kept; `store_log`: the store as an order log;
- `scorer`: orders + bundle → answers, the one scorer; `lifecycle`, `segments`, `patterns`: rules over the facts;
- `answer`: answers → the fields that are given, the one assembler;
- `questions`, `schemas`: what the service takes and gives, and `docs`, their page; `envelope`, `conforming`,
  `histories`, `requests`: bytes, or stored orders → answers;
- `routes`, `api`, `together`: the paths and their handlers; `front`: HTTP around them, with keys, limits and errors;
  `service`: BentoML around that; `observing`, `events`, `tracing`, `openapi`, `page`: what operators and readers see;
- `batch`, `feature_table` → `table`: the whole base as rows, one function on every engine; `in_parts`, `unfinished`: a
  base of any size on this machine; `spark` (`spark_source`, `spark_places`, `spark_parts`, `shipped`, `java`): on
  Spark;
- `output`, `sql_output`, `score_store`, `tally`: to a file, a table or the store, its accounts, and pages of it;
- `client`: the typed client; `settings`: what an operator may set.
"""
