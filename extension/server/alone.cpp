#include "extension/server/alone.hpp"

#include "extension/boundary/guard.hpp"

namespace pg_retention::server {

void Alone::begin() {
  if (still())
    return;
  next_ = boundary::server([] {
    const TransactionId next = ReadNextTransactionId();
    return TransactionIdFollowsOrEquals(GetOldestActiveTransactionId(), next) ? next : InvalidTransactionId;
  });
}

bool Alone::still() {
  if (!TransactionIdIsValid(next_))
    return false;
  next_ = boundary::server([&] {
    constexpr int most = 1000; // ids of ours in one transaction
    const TransactionId next = ReadNextTransactionId();
    TransactionId id = next_;
    for (int seen = 0; id != next; ++seen) {
      if (seen == most || !TransactionIdIsCurrentTransactionId(id))
        return InvalidTransactionId;
      TransactionIdAdvance(id);
    }
    return next;
  });
  return TransactionIdIsValid(next_);
}

} // namespace pg_retention::server
