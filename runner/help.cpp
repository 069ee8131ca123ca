#include "options.hpp"

#ifndef PG_RETENTION_VERSION
#error "PG_RETENTION_VERSION must be given on the compile line, as a string"
#endif

namespace pg_retention::runner {

std::string version_text() { return "pg_retention " PG_RETENTION_VERSION "\n"; }

std::string help_text() {
  return R"(pg_retention runs the data retention policies of a PostgreSQL database.

Usage:
  pg_retention run [OPTION]... POLICY...
  pg_retention run [OPTION]... --all
  pg_retention preview [OPTION]... [POLICY]...
  pg_retention restore [OPTION]... RUN_ID
  pg_retention status [OPTION]...

Commands:
  run                       run the named policies, batch by batch, each batch committed; a
                            policy that fails does not stop the others
  preview                   show what a run would do now, and change nothing; without
                            POLICY: every policy that "run --all" would run
  restore                   put the rows that a run archived back, in one transaction, and tell
                            what no longer fits
  status                    show each policy and how its last run went

General options:
  -a, --all                 run every policy that is not paused (with "run" only)
      --log-format=FORMAT   text (the default) or json: one line for each policy on
                            standard output, with RFC 3339 times in UTC
  -q, --quiet               show only failures and errors (with "run" only)
  -v, --verbose             also show versions, statements and server notices, on
                            standard error
  -V, --version             show the version, then exit
  -?, --help                show this help, then exit

Options of "run":
  -j, --jobs=N              share the work among N connections (1 to 64): a policy is cut into
                            N slices; where N or more policies that do not depend on an order
                            (equal run_order) act on different tables, they run side by side
      --max-rows=N          stop a policy after N rows of its target
      --max-runtime=TIME    stop a policy after this interval, such as '10 min'; a number alone
                            is seconds
      --batch-rows=N        rows of a batch, instead of what the measured time allows
      --max-rows-per-second=N
                            at most N rows a second, all connections together
      --sleep=TIME          rest this interval after each batch, without a transaction open
      --no-strict           judge the subjects of a batch once, not again before its commit
      --single-transaction  run each policy in one transaction, all or nothing
      --progress            show rows done, rate and estimated time left on standard error: a
                            bar on a terminal, else a line every five seconds
      --vacuum=WHEN         vacuum the tables that the run changed: auto (the default; when their
                            dead rows call for it as autovacuum reckons), always or never

With several connections --max-rows and --max-rows-per-second are divided among the slices.

Options of "restore":
      --partial             put a row back without those of its dependents that do not fit

Connection options:
  -h, --host=HOST           database server host or socket directory
  -p, --port=PORT           database server port
  -U, --username=NAME       user name to connect as
  -d, --dbname=DBNAME       database to connect to: a name, a conninfo string or a URI;
                            --host, --port and --username override what it says
  -w, --no-password         never ask for a password
  -W, --password            ask for the password before connecting

Without -w and -W a password is asked for, on the terminal, when the server needs one
and neither PGPASSWORD nor a password file gives it. A password in a conninfo string or
a URI is blanked in the process list as the program starts; a password file is safer.

Environment:
  PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSWORD, PGPASSFILE, PGSERVICE,
  PGSERVICEFILE, PGSSLMODE, PGCONNECT_TIMEOUT, PGOPTIONS and the other variables that
  libpq reads, as for psql.

Signals:
  SIGINT and SIGTERM cancel the batches that are under way, on every connection; their policies
  are reported as cancelled, with what they had committed, those after them as not run, and
  the exit code is 1. A second signal does not wait for what had been committed.

Exit codes:
  0  done
  1  a policy or a vacuum failed, was cancelled or was not run; or a report could not be written
  2  the command line is wrong
  3  cannot connect to the server
  4  refused: the extension is missing, its versions differ, the server is read only,
     or the user may not run policies
  5  a fuse stopped a policy, which now needs an approval; nothing else failed
)";
}

} // namespace pg_retention::runner
