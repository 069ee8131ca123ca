# pg_retention: one Makefile for the extension (PGXS), the runner (libpq) and every check.
#
#   make all           the extension and the runner          make unit          GoogleTest of core/
#   make install       both, into the PostgreSQL of PG_CONFIG make installcheck  pgTAP and isolation, running server
#   make runnercheck   TAP tests (start their own servers)    make lint          layering, exports, versions
#   make format        clang-format in place                  make dist          a release zip
#   make matrix        every test on PostgreSQL 15, 17 and 18; MATRIX="PG_CONFIG..." for others
#
# PG_CONFIG=/path/to/pg_config chooses the PostgreSQL, CXX=clang++ the compiler; changing either rebuilds.

EXTENSION  = pg_retention
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_retention.control)
PG_CONFIG ?= pg_config

CORE      = $(patsubst %.cpp,%.o,$(sort $(wildcard extension/core/*.cpp)))
SERVER    = $(patsubst %.cpp,%.o,$(sort $(wildcard extension/boundary/*.cpp extension/server/*.cpp)))
RUNNER    = $(patsubst %.cpp,%.o,$(sort $(wildcard runner/*.cpp)))
UNIT_OBJS = $(patsubst %.cpp,%.unit.o,$(sort $(wildcard test/unit/*.cpp extension/core/*.cpp)))
SQL_BUILT = sql/pg_retention--$(EXTVERSION).sql
SQL_PARTS = $(sort $(wildcard sql/[0-9][0-9]_*.sql))

MODULE_big = pg_retention
ENTRIES   = $(patsubst %.cpp,%.o,$(sort $(wildcard extension/*.cpp)))
OBJS       = $(ENTRIES) $(CORE) $(SERVER)
UPGRADES   = $(patsubst sql/upgrade/%,sql/pg_retention--%,$(wildcard sql/upgrade/*--$(EXTVERSION).sql))
DATA_built = $(SQL_BUILT) $(UPGRADES)
DATA       = $(filter-out $(DATA_built),$(wildcard sql/pg_retention--*.sql))
DOCS       := $(wildcard doc/*.md)

REGRESS        := $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS   = --inputdir=test --load-extension=pgtap
ISOLATION      := $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=.

# Server headers come as system headers, so that our warnings stay ours.
SERVER_INCLUDES := -isystem $(shell $(PG_CONFIG) --includedir-server) -isystem $(shell $(PG_CONFIG) --includedir)
WARNINGS        = -Wall -Wextra -Wno-register -Wno-unused-parameter -Wno-shadow=compatible-local
ifneq ($(findstring clang,$(shell $(CXX) --version)),)
# The server's own flags are the ones of the compiler that built it.
WARNINGS       += -Wno-unknown-warning-option
endif
PG_CPPFLAGS     = $(SERVER_INCLUDES) -I$(CURDIR) -DPG_RETENTION_VERSION='"$(EXTVERSION)"' -MMD -MP
# ASSERTIONS=1 builds the library with the assertions of the server's headers.
ifdef ASSERTIONS
PG_CPPFLAGS    += -DUSE_ASSERT_CHECKING=1
endif
PG_CXXFLAGS     = -std=c++17 $(WARNINGS) -fvisibility=hidden -fvisibility-inlines-hidden
SHLIB_LINK      = -lstdc++
SHLIB_EXPORTS   = extension/exports.txt

EXTRA_CLEAN = runner/pg_retention $(RUNNER) $(UNIT_OBJS) .built-with dist extension/exports.txt extension/exports.list \
              $(shell find extension runner test/unit -name '*.d' 2>/dev/null) \
              test/unit/unit_tests output_iso results regression.diffs regression.out tmp_check

# The library is built by the C++ compiler; a bitcode copy would need the same for clang and gains nothing.
override with_llvm = no
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(PGXS),)
$(error "$(PG_CONFIG)" names no PostgreSQL server headers; install them or set PG_CONFIG)
endif
include $(PGXS)
override COMPILER = $(CXX) $(CXXFLAGS)

all: runner/pg_retention

$(SQL_BUILT): $(SQL_PARTS) pg_retention.control
	$(if $(SQL_PARTS),,$(error no sql/NN_topic.sql to build $@ from))
	cat $(SQL_PARTS) > $@.tmp && mv $@.tmp $@

$(UPGRADES): sql/pg_retention--%.sql: sql/upgrade/%.sql sql/upgrade/join.awk $(SQL_PARTS)
	awk -f sql/upgrade/join.awk $< > $@.tmp && mv $@.tmp $@

# Visibility alone does not hide the instances of std:: templates: the library exports what the SQL script names.
# The scripts of earlier versions count: an updated library serves them until ALTER EXTENSION ran.
extension/exports.txt: $(SQL_BUILT) $(DATA)
	(echo Pg_magic_func; echo _PG_init; sed -n "s/.*'MODULE_PATHNAME', *'\([A-Za-z0-9_]*\)'.*/\1\npg_finfo_\1/p" $^ | sort -u) > $@.tmp && mv $@.tmp $@

# Objects of one server version, compiler, extension version or set of the runner's flags never mix with those of another.
RUNNER_CXXFLAGS ?= -O2 -g
BUILT_WITH := $(shell $(PG_CONFIG) --version) $(PGXS) $(CXX) $(EXTVERSION) $(RUNNER_CXXFLAGS) $(ASSERTIONS)
ifneq ($(file < .built-with),$(BUILT_WITH))
.PHONY: .built-with
endif
.built-with:
	@echo '$(BUILT_WITH)' > $@
$(OBJS) $(RUNNER) $(UNIT_OBJS): .built-with

-include $(OBJS:.o=.d) $(RUNNER:.o=.d)

# ---- the runner: a program of its own, with libpq and, for the bar of --progress, the terminal's description ----
$(RUNNER): runner/%.o: runner/%.cpp
	$(CXX) -std=c++17 $(RUNNER_CXXFLAGS) -Wall -Wextra -MMD -MP -I$(CURDIR) -isystem $(shell $(PG_CONFIG) --includedir) \
	  -DPG_RETENTION_VERSION='"$(EXTVERSION)"' -c -o $@ $<

runner/pg_retention: $(RUNNER)
	$(CXX) $(RUNNER_CXXFLAGS) -o $@ $(RUNNER) -L$(shell $(PG_CONFIG) --libdir) -lpq -ltinfo

.PHONY: install-runner uninstall-runner unit runnercheck lint format dist
install: install-runner
install-runner: runner/pg_retention
	$(MKDIR_P) '$(DESTDIR)$(bindir)'
	$(INSTALL_PROGRAM) runner/pg_retention '$(DESTDIR)$(bindir)/pg_retention'

uninstall: uninstall-runner
uninstall-runner:
	rm -f '$(DESTDIR)$(bindir)/pg_retention'

# ---- checks ----
UNIT_CXX  = $(CXX) -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all
$(UNIT_OBJS): %.unit.o: %.cpp
	$(UNIT_CXX) -std=c++17 -Wall -Wextra -Werror -MMD -MP -I$(CURDIR) -c -o $@ $<
-include $(UNIT_OBJS:.o=.d)

test/unit/unit_tests: $(UNIT_OBJS)
	$(UNIT_CXX) -o $@ $(UNIT_OBJS) -lgtest_main -lgtest -pthread

unit: test/unit/unit_tests
	./test/unit/unit_tests

# PGXS skips an empty list in silence; a check that checks nothing must not pass.
.PHONY: has-tests
installcheck: has-tests
has-tests:
	$(if $(REGRESS)$(ISOLATION),@:,$(error no tests under test/sql and test/specs))

# The TAP tests start servers of their own, which PostgreSQL refuses to do as root.
PROVE_TESTS = $(sort $(wildcard test/t/*.pl))
runnercheck:
	$(if $(PROVE_TESTS),,$(error no tests under test/t))
	@test "$$(id -u)" != 0 || { echo 'make runnercheck: PostgreSQL does not run as root; use an unprivileged user, or ./test/run' >&2; exit 1; }
	$(prove_installcheck)

.PHONY: matrix
matrix:
	./test/matrix

lint: all
	./test/lint

SOURCES = $(sort $(wildcard extension/*.cpp extension/*/*.cpp extension/*/*.hpp runner/*.cpp runner/*.hpp test/unit/*.cpp))
format:
	clang-format -i $(SOURCES)

# ---- release ----
dist:
	$(MKDIR_P) dist
	git archive --format=zip --prefix=pg_retention-$(EXTVERSION)/ -o dist/pg_retention-$(EXTVERSION).zip HEAD
