"""A typed client of the service: `Client("http://127.0.0.1:3000").customer("anna")`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from features.errors import ClvError
from serving.questions import MAX_ITEMS, Order, PostedOrder
from serving.schemas import (
    CustomerPrediction,
    CustomerScores,
    CustomersPage,
    ErrorAnswer,
    FailedCustomer,
    ModelInfo,
    OrdersAnswer,
    PredictResponse,
    Problem,
    Readiness,
)

A = TypeVar("A", bound=BaseModel)


class ServiceError(ClvError):
    """The service said no: `problem` holds its code, message, details and request id."""

    status, code = 502, "service_refused"

    def __init__(self, http_status: int, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.message}")
        self.http_status, self.problem = http_status, problem


class Client:
    """Asks a service; safe for many threads.

    Parameters
    ----------
    url
        Where the service is, such as http://127.0.0.1:3000.
    key
        API key, where one is needed.
    seconds
        How long to wait for an answer.

    Every method raises ServiceError when the service refuses, and httpx.TransportError when it cannot be reached.
    Further parameters are those of the request's body or query: `horizon_days`, `as_of`, `margin` …
    """

    def __init__(self, url: str, key: str | None = None, seconds: float = 60.0) -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=seconds)

    def __enter__(self) -> Client:
        """Open."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def predict(
        self, customers: Mapping[str, Iterable[Order]], **asked: Any
    ) -> Iterator[CustomerPrediction | FailedCustomer]:
        """Predict customers from their raw orders, in calls of at most 10,000; one entry each, in their order."""
        everyone = [{"customer_id": name, "orders": list(orders)} for name, orders in customers.items()]
        for low in range(0, len(everyone), MAX_ITEMS):
            body = {"customers": everyone[low : low + MAX_ITEMS], **asked}
            yield from self._ask(PredictResponse, "POST", "/v1/predict", json=body).customers

    def customer(self, customer_id: str, **asked: Any) -> CustomerPrediction:
        """Predict a customer from the stored orders."""
        return self._ask(CustomerPrediction, "GET", f"/v1/customers/{quote(customer_id, safe='')}", params=asked)

    def customers(self, **asked: Any) -> Iterator[CustomerScores]:
        """All customers of the last batch scores that fit the filters, page after page."""
        while True:
            page = self._ask(CustomersPage, "GET", "/v1/customers", params=asked)
            yield from page.customers
            if page.next_cursor is None:
                return
            asked["cursor"] = page.next_cursor

    def store_orders(self, orders: Iterable[PostedOrder]) -> OrdersAnswer:
        """Store at most 10,000 orders; what was refused is in the answer."""
        return self._ask(OrdersAnswer, "POST", "/v1/orders", json={"orders": list(orders)})

    def delete_order(self, order_id: str) -> None:
        """Delete an order and its refunds."""
        self._checked(self._http.delete(f"/v1/orders/{quote(order_id, safe='')}"))

    def model(self) -> ModelInfo:
        """Which model answers."""
        return self._ask(ModelInfo, "GET", "/v1/model")

    def readiness(self) -> Readiness:
        """Whether a model is loaded, and what is not as it should be."""
        return Readiness.model_validate_json(self._http.get("/readyz").content)

    def _ask(self, kind: type[A], method: str, path: str, **how: Any) -> A:
        return kind.model_validate_json(self._checked(self._http.request(method, path, **how)).content)

    @staticmethod
    def _checked(response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        try:
            problem = ErrorAnswer.model_validate_json(response.content).error
        except ValidationError:  # a proxy's page
            problem = Problem(code="no_answer", message=f"HTTP {response.status_code} without a typed body", details=[])
        raise ServiceError(response.status_code, problem)
