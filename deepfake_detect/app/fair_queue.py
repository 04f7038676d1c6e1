"""Whose turn it is: round robin over addresses, and over the clients of an address."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")


class Owner(NamedTuple):
    """Sender of an upload: the network address, and the cookie that separates its browsers."""

    address: str
    cookie: str


class FairQueue(Generic[Item]):
    """A queue in which no client waits for all the items of another.

    Addresses take turns, within an address its cookies do, and the items of one cookie come out in
    order. So a client without cookies, or with many, gains nothing over other addresses. Not
    thread-safe; the owner holds a lock.

    Example:
        >>> queue = FairQueue[str]()
        >>> for name in ("a1", "a2", "a3"):
        ...     queue.put(Owner("10.0.0.1", "a"), name)
        >>> queue.put(Owner("10.0.0.2", "b"), "b1")
        >>> queue.position("b1")
        2
        >>> [queue.take() for _ in range(len(queue))]
        ['a1', 'b1', 'a2', 'a3']
    """

    def __init__(self) -> None:
        self._addresses: OrderedDict[str, OrderedDict[str, deque[Item]]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of items."""
        return sum(len(line) for clients in self._addresses.values() for line in clients.values())

    def put(self, owner: Owner, item: Item) -> None:
        """Add an item to the end of its owner's line."""
        clients = self._addresses.setdefault(owner.address, OrderedDict())
        clients.setdefault(owner.cookie, deque()).append(item)

    def take(self) -> Item:
        """Remove and return the next item.

        Raises:
            IndexError: The queue is empty.
        """
        if not self._addresses:
            raise IndexError("the queue is empty")
        address, clients = next(iter(self._addresses.items()))
        cookie, line = next(iter(clients.items()))
        item = line.popleft()
        clients.move_to_end(cookie)
        self._addresses.move_to_end(address)
        self._remove_empty()
        return item

    def discard(self, item: Item) -> bool:
        """Remove an item out of turn; return whether it was there."""
        for clients in self._addresses.values():
            for line in clients.values():
                if item in line:
                    line.remove(item)
                    self._remove_empty()
                    return True
        return False

    def position(self, item: Item) -> int:
        """Return an item's position if no more are added: 1 is next, 0 is not in the queue."""
        rehearsal: FairQueue[Item] = FairQueue()
        rehearsal._addresses = OrderedDict(
            (address, OrderedDict((cookie, deque(line)) for cookie, line in clients.items()))
            for address, clients in self._addresses.items()
        )
        for number in range(1, len(self) + 1):
            if rehearsal.take() == item:
                return number
        return 0

    def _remove_empty(self) -> None:
        """Remove empty lines, so that a returning client queues behind those who wait."""
        for address, clients in list(self._addresses.items()):
            for cookie in [cookie for cookie, line in clients.items() if not line]:
                del clients[cookie]
            if not clients:
                del self._addresses[address]
