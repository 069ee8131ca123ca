#pragma once
#include "extension/boundary/postgres.hpp"

/// Whether anybody else writes.
namespace pg_retention::server {

/// Who changes, removes or locks a row has a transaction id first, and ids are given out in order. So where none is
/// running and all that were given out since are ours, no row of any table has changed.
class Alone {
public:
  /// Begins to be sure, where that is possible: not while another transaction has an id, or ours has one already.
  /// Otherwise as still().
  void begin();

  /// Whether nobody else had an id since begin(). Once not, never again until begin().
  [[nodiscard]] bool still();

private:
  TransactionId next_ = InvalidTransactionId; ///< all ids before it are over, or ours; invalid: not known
};

} // namespace pg_retention::server
