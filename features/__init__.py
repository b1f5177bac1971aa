"""Order log → one row of features per customer, as of an instant. One definition, everywhere.

In the order the data flows:

- `options`, `sources` (`places`, `csv_file`, `parquet_files`, `databases`), `mapping` → `raw`: where the rows come from
  and what they are called;
- `hashing` → `dealing` → `parts`: a large log as parts of whole customers; `sampling`: some of them, to train on;
- `parsing`, `validation`, `reading`: texts to types, the rules a row must keep;
- `accounts`, `refused`: where the rows went, what the refused ones look like, and what would read them;
- `typed` → `assemble`, `ordering` → `orders`: rules, then the rows that hold in one total order (`OrderLog`);
- `history` → `segments`: the cut at `as_of`, and the primitives per customer;
- `catalogue`, `definitions`: the features, one line each;
- `matrix` → `frame`: the loop over blocks of customers, and its pandas face.

`errors`, `columns`, `instants`, `arrays`, `arrow` are the vocabulary. The engine (`segments`, `history`,
`matrix`) and the definitions are pure: no I/O, clock, environment or logging.
"""

__version__ = "0.1.0"
