"""Order log → one row of features per customer, as of an instant. One definition, everywhere.

In the order the data flows:

- `options`, `sources` (`places`, `csv_file`, `parquet_files`, `databases` by their `engines`), `mapping` → `raw`: where
  the rows come from and what they are called;
- `hashing` → `dealing`, or `clustered` where they lie → `parts` (`shared_ids`): a large log as parts of whole
  customers; `sampling`: some of them, to train on;
- `encoding`, `parsing`, `validation`, `reading`: texts to types, the rules a row must keep;
- `accounts`, `refused`, `doubts`: where the rows went, what the refused ones look like, what would read them, and what
  looks wrong though it is valid;
- `typed` → `assemble`, `ordering` → `orders`: rules, then the rows that hold in one total order (`OrderLog`);
- `events`, `traits` → `history` → `segments`: the cut at `as_of`, and the primitives per customer;
- `catalogue`, `definitions`: the features, one line each, and `docs`, their page;
- `matrix` → `frame`: the loop over blocks of customers, and its pandas face.

`errors`, `columns`, `instants`, `arrays`, `arrow`, `once` are the vocabulary; `machine` has cores, locks and notes.
The engine (`segments`, `history`, `matrix`) and the definitions are pure: no I/O, clock, environment or logging.
"""

__version__ = "0.1.0"
